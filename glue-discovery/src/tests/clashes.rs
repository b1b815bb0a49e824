//! Who claims what another holds.

use super::world::World;
use super::*;

#[test]
fn a_name_is_held_until_its_holder_expires() {
    let mut one = One::new(config());
    let (holder, claimer) = (native(2, "two", "10.0.0.2:5"), native(3, "two", "10.0.0.3:5"));
    one.hear(&holder).hear(&claimer).hear(&claimer);
    assert_eq!(short(&one.events()), ["+two 1", "!two Name"]);
    one.wait(ms(1_500)).hear(&claimer);
    assert_eq!(one.events(), [], "reported once");
    one.wait(ms(500)).hear(&claimer);
    assert_eq!(short(&one.events()), ["-two 1 Expired", "+two 2"]);
    assert_eq!(one.discovery.stats().ignored_clash, 3);
}

#[test]
fn two_names_under_one_id_clash() {
    let mut one = One::new(config());
    one.hear(&native(2, "two", "10.0.0.2:5")).hear(&native(2, "zwei", "10.0.0.3:5"));
    assert_eq!(short(&one.events()), ["+two 1", "!zwei Id"]);
    assert_eq!(one.names(), ["two"]);
}

#[test]
fn a_restart_does_not_get_another_peers_name() {
    let mut one = One::new(config());
    one.hear(&native(2, "two", "10.0.0.2:5")).hear(&native(3, "three", "10.0.0.3:5"));
    one.hear(&with(native(2, "three", "10.0.0.2:5"), |a| a.native = Some(life(21))));
    assert_eq!(short(&one.events()), ["+two 1", "+three 2", "!three Name"]);
}

#[test]
fn our_own_name_and_id_are_ours() {
    let mut one = One::new(config());
    one.hear(&native(2, "one", "10.0.0.2:5"));
    one.hear(&native(1, "other", "10.0.0.3:5"));
    one.hear(&with(native(1, "one", "10.0.0.4:5"), |a| a.native = Some(life(9))));
    let expected = Event::Clash {
        kind: crate::ClashKind::Name,
        name: "one".to_owned(),
        id: EndpointId::from_integer(2),
        address: socket("10.0.0.2:27320"),
    };
    let events = one.events();
    assert_eq!(events.first(), Some(&expected));
    assert_eq!(short(&events), ["!one Name", "!other Id"], "an id is reported once");
    assert_eq!((one.names(), one.discovery.stats().ignored_clash), (vec![], 3));
}

#[test]
fn both_sides_of_a_clash_see_it() {
    let mut world = World::new();
    world.start(&[GROUP], 1);
    world.start_at(1, &[GROUP], vec![interface(2, "10.0.0.2", 24)], |c| c.name = "n0".to_owned());
    world.run(ms(5_000));
    for node in &world.nodes {
        assert_eq!(short(&node.events), ["!n0 Name"]);
    }
}

#[test]
fn a_lasting_clash_is_told_again_and_many_are_bounded() {
    let mut config = config();
    config.max_clashes = 3;
    let mut one = One::new(config);
    for id in 2..12 {
        one.hear(&native(id, "one", "10.0.0.2:5"));
    }
    assert_eq!((one.events().len(), one.discovery.stats().clashes_dropped), (3, 7));
    one.wait(ms(60_000)).hear(&native(11, "one", "10.0.0.2:5"));
    assert_eq!(short(&one.events()), ["!one Name"]);
}
