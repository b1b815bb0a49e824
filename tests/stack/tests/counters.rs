//! The counters of whole engines, held against the books.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests are tests too")]

use glue_endpoint::{GapReason, TopicStats};
use glue_sim::{Link, check, seeds};
use glue_stack::scene::{ms, s};
use glue_stack::{Cluster, Plan, Seen};

/// What member `index` has counted of the topic of `publisher`.
fn stats(cluster: &mut Cluster, index: usize, publisher: usize) -> TopicStats {
    let (_, _, topic) = cluster.stream(publisher);
    let topics = cluster.world.call(cluster.members[index].node, |engine, _| engine.report_topics()).unwrap();
    topics.into_iter().find(|report| report.topic == topic).map(|report| report.stats).unwrap_or_default()
}

/// Messages that expired in the reader's hands are delivered to the counters, and a gap to the reader.
fn assert_agree(delivered: u64, expired: u64, seen: &Seen) {
    assert_eq!(delivered + expired, seen.delivered + seen.missed(GapReason::Expired), "{seen:?}");
    assert!(delivered >= seen.delivered);
}

#[test]
fn the_counters_of_topics_and_peers_equal_the_books() {
    check("the_counters_of_topics_and_peers_equal_the_books", seeds(32), |seed| {
        let loss = [0.0, 0.05, 0.2, 0.5][usize::try_from(seed % 4).unwrap()];
        let mut cluster = Cluster::new(seed, 3, Plan { expiry: ms(300), ..Plan::default() });
        cluster
            .world
            .set_default_link(Link::lossy(loss).latency(ms(1)).jitter(ms(2)).duplicate(0.05).reorder(0.1, ms(5)));
        cluster.meet(s(120));
        cluster.publish_for(s(1));
        let node = cluster.members[1].node;
        cluster.world.isolate(node);
        cluster.publish_for(s(3));
        cluster.world.heal();
        cluster.publish_for(s(1));
        cluster.run(s(30));
        let (mut expired, mut held) = (0, 0);
        for publisher in 0..3 {
            let stream = cluster.stream(publisher);
            let own = stats(&mut cluster, publisher, publisher);
            let seen = cluster.books.seen(cluster.reader(publisher), &stream);
            assert_eq!(own.published, cluster.books.count(&stream));
            assert_eq!((own.copies, own.delivered_here), (2 * own.published, own.published));
            assert_eq!((own.held_back, own.received), Default::default());
            assert_agree(own.delivered_here, 0, &seen);
            for reader in (0..3).filter(|reader| *reader != publisher) {
                let received = stats(&mut cluster, reader, publisher).received;
                let seen = cluster.books.seen(cluster.reader(reader), &stream);
                assert_eq!(
                    (received.messages, received.messages + received.gaps.total()),
                    (received.delivered, seen.total())
                );
                assert_agree(received.delivered, received.gaps.expired, &seen);
                assert_eq!(received.gaps.overflow, seen.missed(GapReason::Overflow));
                assert_eq!(received.gaps.publisher_gone, seen.missed(GapReason::PublisherGone));
                assert_eq!((received.gaps.malformed, received.gaps.other, received.late), (0, 0, 0));
                let id = cluster.members[publisher].id;
                let peers =
                    cluster.world.call(cluster.members[reader].node, |engine, _| engine.report_peers()).unwrap();
                // When half of all announcements are lost, a peer may just count as gone.
                let peer = peers.iter().find(|report| report.info.id == id);
                assert!(peer.is_some() || loss > 0.2);
                assert!(peer.is_none_or(|peer| peer.received == received), "it publishes this topic alone");
                assert!(peer.is_none_or(|peer| peer.stats.packets_sent > 0 && peer.stats.packets_received > 0));
                (expired, held) = (expired + received.gaps.expired, held + received.held);
            }
        }
        assert!(expired > 50 && (held > 0 || loss == 0.0), "{expired} expired, {held} held");
    });
}
