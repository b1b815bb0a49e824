//! Quality of service: a camera whose frames are soon of no use, an alarm that overtakes them, a screen that shows only the
//! newest, and a recorder that asks for more than the camera offers. Run it by `cargo run -p glue-endpoint --example qos`; it
//! ends by itself.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use glue_endpoint::{
    Builder, Endpoint, GapReason, Item, Notice, Notices, Overflow, Policy, Priority, PublisherOptions, Room,
    SubscribeOptions,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let camera = start("camera").await?;
    let screen = start("screen").await?;
    let (mut at_camera, mut at_screen) = (camera.events(), screen.events());

    // What is lost of it is not sent again, nobody who is slow is waited for, and a frame lives for two seconds.
    let offered =
        PublisherOptions::new().best_effort().deadline(Duration::from_millis(100)).lifespan(Duration::from_secs(2));
    let frames = camera.publisher_with("camera/frames", "raw", offered)?;
    let urgent = PublisherOptions::new().priority(Priority::High);
    let alarms = camera.publisher_with("camera/alarms", "text", urgent)?;

    // The screen is slow and wants to be told if the camera is: the newest three frames wait, the others go.
    let newest = Overflow::DropOldest(Room::messages(3));
    let requested = SubscribeOptions::new().deadline(Duration::from_millis(200)).overflow(newest);
    let mut shown = screen.subscribe_from("camera/frames", "raw", requested).await?;
    let mut alarm = screen.subscribe("camera/alarms", "text").await?;
    // The recorder must have each frame: that is more than is offered, so it gets none, and both sides are told.
    let mut recorded = screen.subscribe_from("camera/frames", "raw", SubscribeOptions::new().reliable()).await?;
    frames.wait_for_subscribers(1).await;
    alarms.wait_for_subscribers(1).await;

    for number in 1..=20u8 {
        frames.publish(Duration::MAX, &[number; 1_000]).await?;
    }
    alarms.publish(Duration::from_secs(5), "smoke").await?;
    println!("alarm: {:?}", alarm.recv().await.ok_or("closed")?.payload);

    // Nothing more is published: the camera breaks its promise, and both notice.
    wait_for(&mut at_camera, |notice| matches!(notice, Notice::OfferedDeadlineMissed { .. })).await?;
    wait_for(&mut at_screen, |notice| matches!(notice, Notice::QosMismatch { policy: Policy::Reliability, .. }))
        .await?;
    wait_for(&mut at_screen, |notice| matches!(notice, Notice::RequestedDeadlineMissed { .. })).await?;

    let (mut seen, mut dropped) = (Vec::new(), 0);
    while seen.last() != Some(&20) {
        match shown.recv_item().await.ok_or("closed")? {
            Item::Message(frame) => seen.push(frame.sequence_number),
            Item::Gap(gap) if gap.reason == GapReason::Overflow => dropped += gap.count(),
            Item::Gap(gap) => println!("missing: {gap:?}"),
        }
    }
    println!("shown: {seen:?}, dropped: {dropped}");
    if seen != [18, 19, 20] || dropped != 17 || recorded.try_recv().is_some() {
        return Err("not what was asked for".into());
    }
    camera.close(Duration::from_secs(1)).await;
    screen.close(Duration::from_secs(1)).await;
    Ok(())
}

/// An endpoint that others on this machine find, and nobody else.
async fn start(name: &str) -> Result<Endpoint, Box<dyn std::error::Error>> {
    Ok(Builder::new().network_id(7_308).listen_interface("lo").endpoint_name(name).start().await?)
}

async fn wait_for(notices: &mut Notices, is_it: impl Fn(&Notice) -> bool) -> Result<(), Box<dyn std::error::Error>> {
    let found = async {
        while let Some(notice) = notices.recv().await {
            if is_it(&notice) {
                println!("{notice:?}");
                return true;
            }
        }
        false
    };
    match tokio::time::timeout(Duration::from_secs(5), found).await? {
        true => Ok(()),
        false => Err("the endpoint was closed".into()),
    }
}
