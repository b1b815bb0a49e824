//! Whole-engine scenarios on the simulator and on real sockets.
