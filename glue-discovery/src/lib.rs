//! Who is there: announce, learn, forward, clash, move, expire, goodbye. Pure.
