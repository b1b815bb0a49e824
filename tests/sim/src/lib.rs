//! A seeded network in virtual time for nodes that implement glue_net::Node.
