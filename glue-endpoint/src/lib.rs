//! The endpoint: the siblings wired into one engine, and the API that applications use.
