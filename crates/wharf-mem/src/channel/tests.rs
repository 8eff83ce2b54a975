//! Both ends of a channel, in one process and in two threads.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::sync::{AtomicU32, Ordering};

const LONG: Duration = Duration::from_secs(20);

fn ends() -> (HostChannel, Arc<ClientChannel>) {
    let channels = Channels::create(2).unwrap();
    let (requests, answers) = channels.hand_out().unwrap();
    let clients = Channels::of_host(requests, answers, 2).unwrap();
    (channels.host(1).unwrap(), clients[1].clone())
}

/// Answers with the sum of the words, until the client says 0.
fn serve(mut host: HostChannel) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let own = AtomicU32::new(0);
        loop {
            let bits = host.take().expect("an honest client");
            let requests: Vec<_> = host.requests(bits).collect();
            for TakenRequest { taken, body } in requests {
                if body == [0; BODY_WORDS] {
                    return;
                }
                host.answer(taken, [body.iter().sum(); BODY_WORDS]);
            }
            host.ring();
            if let Some(sleep) = Sleep::begin(std::iter::once(&host)) {
                sleep.sleep((&own, 0), None);
            }
        }
    })
}

fn call(client: &ClientChannel, value: u64) -> u64 {
    let slot = client.claim().unwrap();
    let pending = client.submit(slot, [value; BODY_WORDS]);
    client.ring();
    assert_eq!(client.wait(&pending, LONG), Waited::Answered);
    let (slot, body) = client.finish(pending).unwrap();
    client.release(slot);
    body[0]
}

#[test]
fn a_request_is_answered_whoever_sleeps() {
    let (host, client) = ends();
    let host = serve(host);
    for value in 1..if cfg!(miri) { 50 } else { 2000 } {
        assert_eq!(call(&client, value), 7 * value);
    }
    let pending = client.submit(client.claim().unwrap(), [0; BODY_WORDS]);
    client.ring();
    assert_eq!(client.wait(&pending, LONG), Waited::Gone, "the host has dropped its end");
    host.join().unwrap();
}

#[test]
fn many_threads_use_all_slots_at_once() {
    let (host, client) = ends();
    let host = serve(host);
    thread::scope(|scope| {
        for thread in 1..=4u64 {
            let client = &client;
            scope.spawn(move || {
                for round in 1..if cfg!(miri) { 2 } else { 200 } {
                    let claimed: Vec<_> =
                        (0..16).map(|_| client.claim().expect("64 slots for 4 of 16")).collect();
                    let value = |slot: &Slot| thread * round + slot.index() as u64;
                    let mut pending: Vec<_> = claimed
                        .into_iter()
                        .map(|slot| {
                            let value = value(&slot);
                            client.submit(slot, [value; BODY_WORDS])
                        })
                        .collect();
                    client.ring();
                    while !pending.is_empty() {
                        assert_eq!(client.wait_any(&pending, LONG), Waited::Answered);
                        pending = pending
                            .into_iter()
                            .filter_map(|pending| finish(client, pending, value))
                            .collect();
                    }
                }
            });
        }
    });
    let pending = client.submit(client.claim().unwrap(), [0; BODY_WORDS]);
    client.ring();
    assert_eq!(client.wait(&pending, LONG), Waited::Gone);
    host.join().unwrap();
}

fn finish(client: &ClientChannel, pending: Pending, value: impl Fn(&Slot) -> u64) -> Option<Pending> {
    match client.finish(pending) {
        Err(pending) => Some(pending),
        Ok((slot, body)) => {
            assert_eq!(body[6], 7 * value(&slot));
            client.release(slot);
            None
        }
    }
}

#[test]
fn an_abandoned_slot_is_used_again_when_it_was_answered() {
    let (mut host, client) = ends();
    let slots: Vec<_> = (0..SLOTS).map(|_| client.claim().unwrap()).collect();
    assert!(client.claim().is_none());
    for slot in slots {
        client.abandon(client.submit(slot, [1; BODY_WORDS]));
    }
    assert!(client.claim().is_none(), "the host may still write their answers");
    assert_eq!(host.take(), Some(u64::MAX));
    let taken = host.request(5).unwrap().taken;
    host.answer(taken, [0; BODY_WORDS]);
    assert_eq!(client.claim().unwrap().index(), 5);
    assert!(client.claim().is_none());
    assert_eq!(host.busy(), 63);
}

#[test]
fn a_wait_ends_with_its_time_and_with_its_host() {
    let (host, client) = ends();
    let pending = client.submit(client.claim().unwrap(), [1; BODY_WORDS]);
    let begun = Instant::now();
    assert_eq!(client.wait(&pending, Duration::from_millis(10)), Waited::TimedOut);
    assert!(begun.elapsed() >= Duration::from_millis(10));
    let waiting = thread::spawn({
        let client = client.clone();
        move || client.wait(&pending, LONG)
    });
    drop(host);
    assert_eq!(waiting.join().unwrap(), Waited::Gone);
    assert!(!client.is_alive());
}

#[test]
fn a_client_that_submits_what_is_in_use_is_found_out() {
    let (mut host, client) = ends();
    let first = client.submit(client.claim().unwrap(), [1; BODY_WORDS]);
    let other = client.submit(client.claim().unwrap(), [2; BODY_WORDS]);
    assert_eq!(host.take(), Some(0b11));
    assert_eq!(host.request(1).unwrap().body, [2; BODY_WORDS]);
    assert_eq!((host.request(2), host.request(64), host.request(usize::MAX)), (None, None, None));
    let _again = client.submit(Slot(0), [3; BODY_WORDS]);
    assert_eq!(host.take(), None);
    drop((first, other));
}

#[test]
fn nobody_is_rung_who_does_not_sleep() {
    let (mut host, client) = ends();
    let pending = client.submit(client.claim().unwrap(), [1; BODY_WORDS]);
    client.ring();
    assert_eq!(host.bell().load(Ordering::Relaxed), 0, "the host is awake");
    assert!(Sleep::begin(std::iter::once(&host)).is_none(), "there is something to do");
    host.take().unwrap();
    let taken = host.request(0).unwrap().taken;
    host.answer(taken, [9; BODY_WORDS]);
    assert_eq!(host.slept_for(), 0, "the client is awake");
    assert_eq!(client.finish(pending).unwrap().1, [9; BODY_WORDS]);
    let sleep = Sleep::begin(std::iter::once(&host)).unwrap();
    client.ring();
    assert!(sleep.words().all(|(word, value)| word.load(Ordering::Relaxed) != value));
}

#[test]
fn memory_that_is_not_of_channels_is_refused() {
    let channels = Channels::create(2).unwrap();
    let (requests, answers) = channels.hand_out().unwrap();
    assert!(Channels::of_host(requests, answers, 3).is_err());
    let (requests, answers) = channels.hand_out().unwrap();
    assert!(Channels::of_host(answers, requests, 2).is_err(), "the answers cannot be written");
    assert!(channels.host(2).is_none() && channels.host(usize::MAX).is_none());
    assert!(Channels::create(usize::MAX).is_err());
}

/// What a fuzzer does at length, for a moment: any bytes in the memory that the client may write, at any time.
#[test]
fn any_bytes_of_a_client_do_no_harm() {
    let mut seed = 1u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut found_out = 0;
    let rounds = if cfg!(miri) { 10 } else { 300 };
    for _ in 0..rounds {
        let channels = Channels::create(1).unwrap();
        let mut host = channels.host(0).unwrap();
        let (requests, _) = channels.hand_out().unwrap();
        let mut owed = Vec::new();
        for _ in 0..50 {
            let place = [0, random(40), random(1024)][random(3) as usize] * WORD_BYTES;
            let word = [random(u64::MAX), 1 << random(64), 0][random(3) as usize];
            crate::system::pwrite(&requests, &word.to_ne_bytes(), place).unwrap();
            match random(4) {
                0 => match host.take() {
                    Some(bits) => owed.extend(host.requests(bits)),
                    None => {
                        found_out += 1;
                        break;
                    }
                },
                1 if !owed.is_empty() => {
                    let request = owed.swap_remove(random(owed.len() as u64) as usize);
                    host.answer(request.taken, request.body);
                }
                2 => host.ring(),
                _ => drop(Sleep::begin(std::iter::once(&host))),
            }
            assert_eq!(owed.len(), host.busy() as usize);
        }
    }
    assert!(found_out > rounds / 50, "{found_out}");
}
