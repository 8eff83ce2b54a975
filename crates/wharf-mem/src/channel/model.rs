//! Every order of events at both ends of a channel.
//!
//! To be run with `RUSTFLAGS="--cfg loom" cargo test -p wharf-mem --lib model`.

use loom::sync::Arc;
use loom::thread;

use super::*;

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
            let now = host.bell().load(crate::sync::Ordering::Relaxed);
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
fn an_answer_is_seen_whole_or_the_sleeper_is_rung() {
    check(|| {
        let (mut host, client) = ends();
        let pending = client.submit(client.claim().expect("all are free"), [5; BODY_WORDS]);
        host.take().expect("an honest client");
        let request = host.request(0).expect("submitted");
        let answerer = thread::spawn(move || {
            host.answer(request.taken, [6; BODY_WORDS]);
            (host.slept_for(), host)
        });
        let early = client.is_answered(&pending);
        let sleeps = !early && client.may_sleep(std::slice::from_ref(&pending), 1);
        let (rung, _host) = answerer.join().expect("no panic");
        assert!(!sleeps || rung == 1, "asleep, and nobody rings");
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
