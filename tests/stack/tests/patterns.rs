//! Subscriptions with wildcards that come and go, in whole engines on a bad network.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests too")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use glue_endpoint::{Engine, Event};
use glue_net::{EndpointId, Instant, Rng};
use glue_sim::{Context, Host, Link, NodeId, World, check, seeds};
use glue_stack::scene::{self, ms, s};
use glue_topics::{Filter, Item, PublicationId, SubscriptionId};

/// Those that publish, and how many topics each of them has.
const PUBLISHERS: usize = 2;
const TOPICS: usize = 4;
/// A subscription to it is there all the time.
const LASTING: &str = "t/0/+";
const PASSING: [&str; 9] = ["t/0/+", "t/+/1", "+/1/#", "t/#", "#", "t/1/2", "+/+/+", "t/+/3", "t/1/+"];

/// A publisher and one of its topics.
type Stream = (usize, usize);

/// A subscription, and what it got.
struct Reader {
    id: SubscriptionId,
    filter: Filter,
    /// For each stream that it matches the first number that it must get: as soon as every publisher knows of it.
    from: Option<BTreeMap<Stream, u64>>,
    /// First and last number of each message or gap, in the order in which they came.
    spans: BTreeMap<Stream, Vec<(u64, u64)>>,
    ended: bool,
}

struct Site {
    world: World<Engine>,
    publishers: Vec<NodeId>,
    subscriber: NodeId,
    publications: BTreeMap<Stream, PublicationId>,
    published: BTreeMap<Stream, u64>,
    readers: Vec<Reader>,
    told: Rc<RefCell<Vec<(NodeId, Instant, Event)>>>,
    rng: Rng,
    gaps: u64,
}

fn topic((publisher, number): Stream) -> String {
    format!("t/{publisher}/{number}")
}

fn streams() -> impl Iterator<Item = Stream> {
    (0..PUBLISHERS).flat_map(|publisher| (0..TOPICS).map(move |number| (publisher, number)))
}

fn id(index: usize) -> EndpointId {
    EndpointId::from_integer(i64::try_from(index).unwrap() + 1)
}

fn engine(index: usize, context: &Context) -> Engine {
    scene::engine(id(index), context, |mut config| {
        config.transport.socket_window_bytes = 100_000;
        config
    })
}

impl Site {
    fn new(seed: u64, link: Link) -> Self {
        let mut world = World::new(seed);
        let told = Rc::<RefCell<Vec<_>>>::default();
        let heard = Rc::clone(&told);
        world.observe(move |node, now, event: &Event| heard.borrow_mut().push((node, now, event.clone())));
        world.keep_events(false);
        world.set_default_link(link);
        let mut nodes: Vec<_> = (0..=PUBLISHERS)
            .map(|index| world.add_node(Host::default(), move |context| engine(index, &context)))
            .collect();
        let subscriber = nodes.pop().unwrap();
        let publications = streams().map(|stream| {
            let made = world.call(nodes[stream.0], |engine, _| engine.publication(&topic(stream), "bytes"));
            (stream, made.unwrap().unwrap())
        });
        let publications = publications.collect();
        let (readers, rng, published) = (Vec::new(), Rng::new(seed ^ 0x7a77), BTreeMap::new());
        Self { world, publishers: nodes, subscriber, publications, published, readers, told, rng, gaps: 0 }
    }

    fn subscribe(&mut self, filter: &str) {
        let made = self.world.call(self.subscriber, |engine, _| engine.subscribe(filter, "bytes"));
        let (id, filter) = (made.unwrap().unwrap(), Filter::new(filter, 64).unwrap());
        self.readers.push(Reader { id, filter, from: None, spans: BTreeMap::new(), ended: false });
    }

    fn unsubscribe(&mut self, which: usize) {
        let id = self.readers[which].id;
        self.world.call(self.subscriber, |engine, _| engine.unsubscribe(id)).unwrap();
        self.keep_books();
        self.readers[which].ended = true;
    }

    /// Every publisher publishes on one of its topics.
    fn publish(&mut self, expiry: Duration) {
        for publisher in 0..PUBLISHERS {
            let stream = (publisher, usize::try_from(self.rng.below(TOPICS as u64)).unwrap());
            let publication = self.publications[&stream];
            let publish = |engine: &mut Engine, now| engine.publish(now, publication, expiry, &[7; 40][..]);
            let number = self.world.call(self.publishers[publisher], publish).unwrap().unwrap().expect("room");
            assert_eq!(self.published.insert(stream, number).unwrap_or(0) + 1, number);
        }
    }

    fn run(&mut self, time: Duration) {
        self.world.run_for(time);
        self.keep_books();
        self.note_known();
    }

    /// Once all that the subscriber has told was acknowledged by both publishers, they know its filters.
    fn note_known(&mut self) {
        let known =
            self.world.call(self.subscriber, |engine, _| engine.is_settled() && engine.peers().count() == PUBLISHERS);
        if known != Some(true) {
            return;
        }
        for reader in self.readers.iter_mut().filter(|reader| reader.from.is_none() && !reader.ended) {
            let wanted = streams().filter(|stream| reader.filter.matches(&topic(*stream)));
            reader.from = Some(wanted.map(|stream| (stream, self.published.get(&stream).unwrap_or(&0) + 1)).collect());
        }
    }

    fn keep_books(&mut self) {
        let told = std::mem::take(&mut *self.told.borrow_mut());
        for (node, at, event) in told {
            let Event::Delivery(delivery) = event else { continue };
            assert_eq!(node, self.subscriber);
            for id in &*delivery.to {
                let reader = self.readers.iter_mut().find(|reader| reader.id == *id).unwrap();
                let mut batch = delivery.batch.clone();
                while let Some(item) = batch.next(at) {
                    self.gaps += reader.note(&item);
                }
            }
            let (peer, bytes) = (delivery.batch.from().unwrap(), delivery.batch.bytes());
            self.world.call(node, |engine, _| engine.handle_taken(peer, bytes));
        }
    }
}

impl Reader {
    /// Returns how many messages are missing.
    fn note(&mut self, item: &Item) -> u64 {
        let (source, span, missing) = match item {
            Item::Message(message) => (message.source(), (message.sequence_number, message.sequence_number), 0),
            Item::Gap(gap) => (&gap.source, (gap.from, gap.to), gap.count()),
        };
        let stream = streams().find(|stream| topic(*stream) == *source.topic_name).expect("a topic of ours");
        assert_eq!(source.endpoint_id, id(stream.0));
        assert!(self.filter.matches(&source.topic_name), "{:?} got {:?}", self.filter, source.topic_name);
        assert!(!self.ended, "{:?} has ended", self.filter);
        let spans = self.spans.entry(stream).or_default();
        let follows = spans.last().is_none_or(|last| last.1 + 1 == span.0);
        assert!(follows, "{:?}: {span:?} after {:?}: twice, out of order, or a silent loss", self.filter, spans.last());
        spans.push(span);
        missing
    }

    /// Everything is there that was published since the publishers knew of it: as a message or as a gap. Of one that has
    /// ended, up to what came last.
    fn assert_complete(&self, published: &BTreeMap<Stream, u64>) -> u64 {
        let mut sum = 0;
        for (stream, from) in self.from.iter().flatten() {
            let spans = self.spans.get(stream).map_or(&[][..], Vec::as_slice);
            let last = spans.last().map_or(0, |last| last.1);
            let to = if self.ended { last } else { published.get(stream).copied().unwrap_or(0) };
            let got: u64 = spans.iter().map(|span| (span.1 + 1).saturating_sub(span.0.max(*from))).sum();
            assert_eq!(got, (to + 1).saturating_sub(*from), "{:?} of {stream:?} from {from}: {spans:?}", self.filter);
            sum += got;
        }
        sum
    }
}

#[test]
fn filters_that_come_and_go_miss_nothing_and_get_nothing_twice() {
    check("filters_that_come_and_go_miss_nothing_and_get_nothing_twice", seeds(48), |seed| {
        let loss = [0.0, 0.05, 0.2, 0.4][usize::try_from(seed % 4).unwrap()];
        let expires = seed % 3 == 0;
        let expiry = if expires { ms(200) } else { s(60) };
        let link = Link::lossy(loss).latency(ms(1)).jitter(ms(2)).duplicate(0.05).reorder(0.1, ms(5));
        let mut site = Site::new(seed, link);
        site.subscribe(LASTING);
        for _ in 0..10_000 {
            site.run(ms(10));
            if site.readers[0].from.is_some() {
                break;
            }
        }
        for round in 0..500 {
            match site.rng.below(6) {
                0 => {
                    let filter = PASSING[usize::try_from(site.rng.below(PASSING.len() as u64)).unwrap()];
                    site.subscribe(filter);
                }
                1 => {
                    let which = usize::try_from(site.rng.below(site.readers.len() as u64)).unwrap();
                    if which > 0 && !site.readers[which].ended {
                        site.unsubscribe(which);
                    }
                }
                _ => site.publish(expiry),
            }
            if expires && round == 300 {
                site.world.isolate(site.subscriber);
            }
            if round == 350 {
                site.world.heal();
            }
            site.run(ms(10));
        }
        site.run(s(30));
        let complete: Vec<u64> = site.readers.iter().map(|reader| reader.assert_complete(&site.published)).collect();
        assert!(complete[0] > 100, "{complete:?}");
        let known = site.readers.iter().filter(|reader| reader.from.is_some()).count();
        assert!(known > 5 && complete.iter().filter(|got| **got > 0).count() > 5, "{known} known, {complete:?}");
        assert_eq!(site.gaps > 0, expires, "{} missing", site.gaps);
    });
}
