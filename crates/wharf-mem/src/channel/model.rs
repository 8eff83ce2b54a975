//! Every order of events at both ends of a channel.
//!
//! To be run with `RUSTFLAGS="--cfg loom" cargo test -p wharf-mem --lib model`.

use loom::sync::Arc;
use loom::thread;

use super::*;
use crate::sync::Ordering;

fn ends() -> (HostChannel, Arc<ClientChannel>) {
    let (requests, answers) = (Words::boxed(WORDS), Words::boxed(WORDS));
    let host = HostChannel::new(requests.clone(), answers.clone());
    (host, Arc::new(ClientChannel::new(requests, answers)))
}

/// Some threads more often than three times would add hours and nothing that was ever found.
fn check(with: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(with);
}

#[test]
fn a_request_is_taken_whole_or_the_sleeper_is_rung() {
    check(|| {
        let (mut host, client) = ends();
        let submitter = thread::spawn({
            let client = client.clone();
            move || {
                let slot = client.claim().expect("all are free");
                let pending = client.submit(slot, [5; BODY_WORDS]);
                client.ring();
                pending
            }
        });
        let mut taken = host.take().expect("an honest client");
        for request in host.requests(taken) {
            assert_eq!(request.body, [5; BODY_WORDS]);
        }
        let rung_before = Sleep::begin(std::iter::once(&host)).map(|sleep| {
            // As if it slept until the client is done.
            let before: Vec<u32> = sleep.words().map(|(_, value)| value).collect();
            std::mem::forget(sleep);
            before[0]
        });
        let pending = submitter.join().expect("no panic");
        if let Some(before) = rung_before
            && taken == 0
        {
            let now = host.bell().load(Ordering::Relaxed);
            assert_ne!(now, before, "asleep, and nobody rang");
        }
        taken |= host.take().expect("an honest client");
        let request = host.requests(taken).next().expect("submitted");
        assert_eq!(request.body, [5; BODY_WORDS]);
        host.answer(request.taken, [6; BODY_WORDS]);
        assert_eq!(client.finish(pending).expect("answered").1, [6; BODY_WORDS]);
    });
}

#[test]
fn a_sleep_that_was_rung_for_is_no_other_sleep() {
    check(|| {
        let (mut host, client) = ends();
        let submitter = |client: Arc<ClientChannel>| {
            move || {
                let slot = client.claim().expect("all are free");
                let pending = client.submit(slot, [5; BODY_WORDS]);
                client.ring();
                pending
            }
        };
        // Both may find the host in one sleep, or each in another.
        let other = thread::spawn(submitter(client.clone()));
        drop(Sleep::begin(std::iter::once(&host)));
        let mut taken = host.take().expect("an honest client");
        let rung_before = Sleep::begin(std::iter::once(&host)).map(|sleep| {
            let before: Vec<u32> = sleep.words().map(|(_, value)| value).collect();
            std::mem::forget(sleep);
            before[0]
        });
        let mine = submitter(client.clone())();
        let theirs = other.join().expect("no panic");
        let now = host.bell().load(Ordering::Relaxed);
        let left = host.take().expect("an honest client");
        assert!(left == 0 || rung_before != Some(now), "asleep, and nobody rang");
        taken |= left;
        assert_eq!(taken, 0b11);
        drop((mine, theirs));
    });
}

#[test]
fn who_rings_late_for_one_sleep_undoes_no_ring_for_the_next() {
    check(|| {
        let (host, client) = ends();
        let first = Sleep::begin(std::iter::once(&host)).expect("nothing was asked");
        let late = thread::spawn({
            let client = client.clone();
            move || client.ring()
        });
        client.ring();
        drop(first);
        let second = Sleep::begin(std::iter::once(&host)).expect("nothing was asked");
        let (_, before) = second.words().next().expect("one channel");
        client.ring();
        late.join().expect("no panic");
        assert_ne!(host.bell().load(Ordering::Relaxed), before, "asleep, as if nobody had rung");
    });
}

#[test]
fn a_host_that_goes_wakes_who_sleeps() {
    check(|| {
        let (host, client) = ends();
        let pending = client.submit(client.claim().expect("all are free"), [5; BODY_WORDS]);
        let going = thread::spawn(move || drop(host));
        let before = client.bell(&pending).load(Ordering::Acquire);
        let sleeps = client.may_sleep(std::slice::from_ref(&pending), 1);
        going.join().expect("no panic");
        let now = client.bell(&pending).load(Ordering::Relaxed);
        assert!(!sleeps || now != before, "asleep, and nobody rang");
    });
}

#[test]
fn an_answer_is_seen_whole_or_the_sleeper_is_rung() {
    check(|| {
        let (mut host, client) = ends();
        let pending = client.submit(client.claim().expect("all are free"), [5; BODY_WORDS]);
        host.take().expect("an honest client");
        let request = host.request(0).expect("submitted");
        let answerer = thread::spawn(move || {
            host.answer(request.taken, [6; BODY_WORDS]);
            host.ring();
            host
        });
        let early = client.is_answered(&pending);
        let before = client.bell(&pending).load(Ordering::Acquire);
        let sleeps = !early && client.may_sleep(std::slice::from_ref(&pending), 1);
        let _host = answerer.join().expect("no panic");
        let now = client.bell(&pending).load(Ordering::Relaxed);
        assert!(!sleeps || now != before, "asleep, and nobody rang");
        let (_, body) = client.finish(pending).expect("answered");
        assert_eq!(body, [6; BODY_WORDS]);
    });
}

#[test]
fn an_answer_that_is_there_is_whole() {
    check(|| {
        let (mut host, client) = ends();
        let pending = client.submit(client.claim().expect("all are free"), [5; BODY_WORDS]);
        host.take().expect("an honest client");
        let request = host.request(0).expect("submitted");
        let answerer = thread::spawn(move || {
            host.answer(request.taken, [6; BODY_WORDS]);
            host
        });
        if let Ok((_, body)) = client.finish(pending) {
            assert_eq!(body, [6; BODY_WORDS]);
        }
        drop(answerer.join());
    });
}

#[test]
fn no_two_threads_have_one_slot() {
    check(|| {
        let (mut host, client) = ends();
        // One slot is in use, the other is abandoned and answered: one thread may find it, and abandon it again.
        let abandoned = client.submit(client.claim().expect("free"), [5; BODY_WORDS]);
        client.abandon(abandoned);
        let held = client.claim().expect("free");
        host.take().expect("an honest client");
        let request = host.request(0).expect("submitted");
        host.answer(request.taken, [6; BODY_WORDS]);
        let other = thread::spawn({
            let client = client.clone();
            move || match client.claim() {
                Some(slot) => {
                    client.abandon(client.submit(slot, [5; BODY_WORDS]));
                    true
                }
                None => false,
            }
        });
        let (mine, theirs) = (client.claim(), other.join().expect("no panic"));
        assert!(!(mine.is_some() && theirs), "the host still has to answer it");
        client.release(held);
    });
}
