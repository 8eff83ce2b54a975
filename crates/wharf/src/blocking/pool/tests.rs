//! What a pool promises, as far as it shows without asking the system which thread runs where.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::*;
use crate::testing::block_on;

const LONG: Duration = Duration::from_secs(60);

fn limits(threads_max: u32) -> PoolLimits {
    PoolLimits { threads_max, waits_max: 2, idle_ms: 60_000 }
}

fn pool(threads_max: u32) -> Pool {
    Pool::new(limits(threads_max))
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A job that has begun and ends when told to.
struct Held {
    running: Running<ThreadId>,
    go: Sender<()>,
}

impl Held {
    fn begin(pool: &Pool) -> Held {
        let (begun, has_begun) = channel();
        let (go, gate) = channel();
        let running = pool.run(move || hold(&begun, &gate));
        has_begun.recv_timeout(LONG).expect("the job begins");
        Held { running, go }
    }

    fn end(self) -> ThreadId {
        self.go.send(()).expect("the job waits");
        block_on(self.running).expect("the job succeeds")
    }
}

fn hold(begun: &Sender<()>, gate: &Receiver<()>) -> Result<ThreadId> {
    begun.send(()).expect("the test waits");
    gate.recv_timeout(LONG).expect("the test ends the job");
    Ok(thread::current().id())
}

fn who(pool: &Pool) -> ThreadId {
    block_on(pool.run(|| Ok(thread::current().id()))).unwrap()
}

#[test]
fn a_job_runs_on_a_thread_of_the_pool_and_its_result_comes_back() {
    let pool = pool(4);
    let (name, id) =
        block_on(pool.run(|| Ok((thread::current().name().map(str::to_owned), thread::current().id()))))
            .unwrap();
    assert_eq!(name.as_deref(), Some("wharf-pool"));
    assert_ne!(id, thread::current().id());
    let failed = block_on(pool.run(|| Err::<(), _>(Error::not_found())));
    assert_eq!(failed.unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn the_thread_that_worked_last_is_woken_first() {
    let pool = pool(4);
    let held: Vec<_> = (0..3).map(|_| Held::begin(&pool)).collect();
    let ids: Vec<_> = held.into_iter().map(Held::end).collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 3, "each job had a thread of its own");
    for _ in 0..10 {
        assert_eq!(who(&pool), ids[2]);
    }
    assert_eq!(pool.threads(), 3);
}

#[test]
fn one_after_the_other_needs_one_thread() {
    let pool = pool(4);
    let ids: HashSet<_> = (0..100).map(|_| who(&pool)).collect();
    assert_eq!((ids.len(), pool.threads()), (1, 1));
}

#[test]
fn beyond_the_limit_jobs_wait_their_turn_and_none_is_lost() {
    let pool = pool(2);
    let held = [Held::begin(&pool), Held::begin(&pool)];
    let order = Arc::new(Mutex::new(Vec::new()));
    let waiting: Vec<_> = (0..10)
        .map(|number| {
            let order = order.clone();
            pool.run(move || {
                order.lock().unwrap().push(number);
                Ok(())
            })
        })
        .collect();
    assert!(order.lock().unwrap().is_empty());
    let [first, second] = held;
    first.end();
    for job in waiting {
        block_on(job).unwrap();
    }
    assert_eq!(*order.lock().unwrap(), (0..10).collect::<Vec<_>>(), "first come, first served");
    assert_eq!(pool.threads(), 2);
    second.end();
}

#[test]
fn jobs_that_wait_for_others_take_no_place_from_them() {
    let pool = pool(1);
    let (give, lock) = channel::<()>();
    let waiting = pool.run_waiting(move || Ok(lock.recv_timeout(LONG).is_ok()));
    // With one thread, and that waiting, what ends the wait still runs.
    block_on(pool.run(move || Ok(give.send(())))).unwrap().unwrap();
    assert!(block_on(waiting).unwrap());
    who(&pool);
    wait_until("the thread beyond the limit ends", || pool.threads() == 1);
}

#[test]
fn too_many_waits_are_refused_and_their_places_come_back() {
    let pool = pool(1);
    let start_wait = || {
        let (go, gate) = channel::<()>();
        (go, pool.run_waiting(move || Ok(gate.recv_timeout(LONG).is_ok())))
    };
    let (go, first) = start_wait();
    let (_go, _second) = start_wait();
    assert_eq!(block_on(start_wait().1).unwrap_err().kind(), Kind::Busy);
    go.send(()).unwrap();
    assert!(block_on(first).unwrap());
    assert_eq!(block_on(pool.run_waiting(|| Ok(7))).unwrap(), 7);
}

#[test]
fn a_panic_goes_on_in_whoever_awaits_and_the_thread_works_on() {
    let pool = pool(1);
    let running = pool.run(|| -> Result<()> { panic!("on purpose") });
    let panic = catch_unwind(AssertUnwindSafe(|| block_on(running))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
    who(&pool);
    assert_eq!(pool.threads(), 1);
}

#[test]
fn a_job_whose_future_is_dropped_runs_to_its_end() {
    let pool = pool(1);
    let held = Held::begin(&pool);
    let (done, is_done) = channel();
    drop(pool.run(move || Ok(done.send(()))));
    held.end();
    is_done.recv_timeout(LONG).expect("the job has run");
}

#[test]
fn a_panic_while_the_result_is_dropped_harms_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let pool = pool(1);
    let held = Held::begin(&pool);
    drop(pool.run(|| Ok(Bomb)));
    held.end();
    for _ in 0..10 {
        who(&pool);
    }
    assert_eq!(pool.threads(), 1);
}

#[test]
fn threads_without_work_end() {
    let pool = Pool::new(PoolLimits { idle_ms: 20, ..limits(4) });
    let held: Vec<_> = (0..4).map(|_| Held::begin(&pool)).collect();
    for held in held {
        held.end();
    }
    wait_until("the idle threads end", || pool.threads() == 0);
    who(&pool);
}

#[test]
fn shutdown_waits_for_what_was_handed_over_and_refuses_what_comes_later() {
    let pool = pool(1);
    let held = Held::begin(&pool);
    let waiting = pool.run(|| Ok(7));
    assert!(!pool.shutdown(Duration::from_millis(5)), "a job runs");
    held.end();
    assert!(pool.shutdown(LONG));
    assert_eq!(block_on(waiting).unwrap(), 7);
    assert_eq!(pool.threads(), 0);
    assert_eq!(block_on(pool.run(|| Ok(()))).unwrap_err().kind(), Kind::Io);
    assert_eq!(block_on(pool.run_waiting(|| Ok(()))).unwrap_err().kind(), Kind::Io);
}

#[test]
fn a_pool_that_is_dropped_ends_its_threads_after_their_work() {
    let pool = pool(2);
    let shared = Arc::downgrade(&pool.0.0);
    let held = Held::begin(&pool);
    who(&pool);
    drop(pool);
    held.end();
    wait_until("the last thread lets go of the pool", || shared.strong_count() == 0);
}

/// Two CPUs, one told by the test as the present one.
#[derive(Clone, Default)]
struct Fake {
    cpu: Arc<AtomicUsize>,
    pinned: Arc<Mutex<Vec<(ThreadId, usize)>>>,
}

impl Placement for Fake {
    fn cpus(&self) -> usize {
        2
    }

    fn current_cpu(&self) -> usize {
        self.cpu.load(SeqCst)
    }

    fn pin_to(&self, cpu: usize) {
        self.pinned.lock().unwrap().push((thread::current().id(), cpu));
    }
}

#[test]
fn a_job_goes_to_a_thread_of_the_cpu_that_submits_it() {
    let fake = Fake::default();
    let pool = Pool::placed(limits(4), fake.clone());
    let zero = who(&pool);
    fake.cpu.store(1, SeqCst);
    let one = who(&pool);
    assert_ne!(zero, one, "an idle thread of another CPU is not woken while there may be more");
    assert_eq!(*fake.pinned.lock().unwrap(), [(zero, 0), (one, 1)]);
    assert_eq!(who(&pool), one);
    fake.cpu.store(0, SeqCst);
    assert_eq!(who(&pool), zero);
    fake.cpu.store(99, SeqCst);
    assert_eq!(who(&pool), one, "a CPU that was not announced is taken as the last");
}

#[test]
fn at_the_limit_a_thread_of_another_cpu_will_do() {
    let fake = Fake::default();
    let pool = Pool::placed(limits(1), fake.clone());
    let zero = who(&pool);
    fake.cpu.store(1, SeqCst);
    assert_eq!(who(&pool), zero);
}

#[test]
fn nothing_is_lost_between_becoming_idle_growing_and_ending() {
    let fake = Fake::default();
    let pool = Pool::placed(PoolLimits { threads_max: 3, waits_max: 8, idle_ms: 0 }, fake.clone());
    let ran = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for submitter in 0..4 {
            let (pool, ran, fake) = (&pool, &ran, &fake);
            scope.spawn(move || {
                for round in 0..500 {
                    fake.cpu.store(round % 2, SeqCst);
                    let ran = ran.clone();
                    let job = move || Ok(ran.fetch_add(1, SeqCst));
                    let running = if submitter == 0 { pool.run_waiting(job) } else { pool.run(job) };
                    block_on(running).unwrap();
                }
            });
        }
    });
    assert_eq!(ran.load(SeqCst), 2000);
    assert!(pool.shutdown(LONG));
}
