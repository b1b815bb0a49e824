//! Whole engines on the simulated network, and what they promise, checked.
//!
//! [`Cluster`] runs endpoints that publish to and subscribe from each other. It keeps the books: what was published, what
//! each subscriber got, in which order, and what it was told is missing.
//!
//! [`Claims`] runs endpoints that hold tokens and have wills, [`office`] such that ask and answer, [`late`] subscribers that join
//! late, [`partition`] caches in networks that fall apart. [`bulk`] has flows over one link, and TCP flows beside them ([`cubic`]). [`mixed`] sets engines beside peers that behave
//! as the reference implementation does ([`reference`](mod@reference)). [`live`] is for endpoints on real sockets, [`netns`] for
//! hosts of their own, [`child`] for processes of their own. [`proof`] has all of it at once, under any scenario. [`scene`] is what scenarios
//! have in common.

#![expect(clippy::indexing_slicing, clippy::missing_panics_doc, reason = "its users are tests: it panics to fail them")]

mod books;
pub mod bulk;
pub mod child;
mod claims;
mod cluster;
pub mod cubic;
pub mod greedy;
pub mod late;
pub mod live;
pub mod mixed;
pub mod netns;
pub mod office;
pub mod partition;
pub mod proof;
pub mod reference;
pub mod scene;

pub use books::{Books, Seen};
pub use claims::{Acquaintance, Claims};
pub use cluster::{Cluster, Member, Plan, assert_within};
