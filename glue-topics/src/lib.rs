//! Names, types, interest, sequence, order, expiry. Pure.
