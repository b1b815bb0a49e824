//! Cut and join within a memory budget. Pure.
