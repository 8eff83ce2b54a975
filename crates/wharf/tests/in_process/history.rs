//! Histories: what a kernel and other threads do, one event after the other, and what is seen of it.

use std::collections::HashMap;
use std::thread;

use wharf::testing::{Ask, Done, Open, Volume};
use wharf::{Capabilities, Errno, RequestId, op};

use crate::script::{Order, Script, ScriptFs};

/// Plays a history and checks what it leads to, event by event: what the file system said, and how requests ended.
///
/// Events: `keen N`, `deaf N`, `holder N`, `quick N` begin read number N of that file; `finish N` and `panic N` let
/// a waiting read end, from another thread; `interrupt N`; `wake N` wakes it without a reason; `let go N` drops
/// the window that it left behind. After every event the queue has its turns.
#[track_caller]
fn check(history: &str, seen: &str) {
    let script = Script::default();
    let mut play = Play {
        volume: Volume::new(ScriptFs::new(&script, Capabilities::empty())),
        script,
        open: HashMap::new(),
        requests: HashMap::new(),
        seen: Vec::new(),
    };
    history.split(", ").for_each(|event| play.event(event));
    assert_eq!(play.seen.join(", "), seen, "after: {history}");
}

struct Play {
    volume: Volume<ScriptFs>,
    script: Script,
    open: HashMap<String, Open>,
    requests: HashMap<u64, RequestId>,
    seen: Vec<String>,
}

impl Play {
    fn event(&mut self, event: &str) {
        let (verb, number) = event.rsplit_once(' ').expect("an event has a number");
        let number: u64 = number.parse().expect("a number");
        match verb {
            "finish" => self.order(number, Order::Finish),
            "panic" => self.order(number, Order::Panic),
            "interrupt" => self.volume.interrupt(self.requests[&number]),
            "wake" => {
                let waker = self.script.waker(number);
                thread::spawn(move || waker.wake()).join().expect("a waker runs nobody's code");
            }
            "let go" => self.script.let_go(number),
            file => {
                let open = self.open(file);
                self.requests.insert(number, self.volume.begin(&Ask::read(open, number, 100)));
            }
        }
        self.look();
        // A cancellation is told in the first turn, and what it woke is polled in the second.
        self.volume.turn();
        self.volume.turn();
        self.look();
    }

    fn open(&mut self, file: &str) -> Open {
        let volume = &mut self.volume;
        let open = || volume.open(file, op::OpenFlags::empty()).expect("a file of the script");
        *self.open.entry(file.to_owned()).or_insert_with(open)
    }

    fn order(&self, number: u64, order: Order) {
        let script = self.script.clone();
        thread::spawn(move || script.order(number, order)).join().expect("a waker runs nobody's code");
    }

    fn look(&mut self) {
        self.seen.extend(self.script.said().into_iter().filter(|words| !words.contains("dropped")));
        let mut requests: Vec<_> = self.requests.iter().collect();
        requests.sort();
        for (number, request) in requests {
            if let Some(Done { result, bytes }) = self.volume.ended(*request) {
                self.seen.push(match result {
                    Ok(_) => format!("{number}={}", String::from_utf8_lossy(&bytes)),
                    Err(errno) => format!("{number}=E{}", errno.get()),
                });
            }
        }
    }
}

#[test]
fn what_can_be_answered_now_is_answered_at_once() {
    check("quick 1", "1=quick");
}

#[test]
fn a_pending_read_ends_when_another_thread_completes_it() {
    check("deaf 1, deaf 2, finish 1", "1 begins, 2 begins, 1 over, 1=bytes");
}

#[test]
fn pending_reads_end_in_any_order() {
    check(
        "deaf 1, deaf 2, deaf 3, finish 3, finish 1, quick 4, finish 2",
        "1 begins, 2 begins, 3 begins, 3 over, 3=bytes, 1 over, 1=bytes, 4=quick, 2 over, 2=bytes",
    );
}

#[test]
fn a_wake_without_a_reason_changes_nothing() {
    check("deaf 1, wake 1, wake 1, finish 1", "1 begins, 1 over, 1=bytes");
}

#[test]
fn an_interrupt_cancels_only_the_request_it_names() {
    check("keen 1, keen 2, interrupt 1", "1 begins, 2 begins, 1 cancelled, 1 over, 1=E4");
}

#[test]
fn an_interrupt_ends_nothing_by_force() {
    check("deaf 1, interrupt 1, interrupt 1, finish 1", "1 begins, 1 over, 1=bytes");
}

#[test]
fn an_interrupt_that_comes_too_late_harms_nobody() {
    check(
        "keen 1, finish 1, keen 2, interrupt 1, finish 2",
        "1 begins, 1 over, 1=bytes, 2 begins, 2 over, 2=bytes",
    );
}

#[test]
fn a_panic_is_an_error_of_one_request() {
    check("deaf 1, deaf 2, panic 1, finish 2", "1 begins, 2 begins, 1 over, 1=E5, 2 over, 2=bytes");
}

#[test]
fn a_slot_that_saw_a_panic_is_used_again() {
    check("deaf 1, panic 1, deaf 2, finish 2", "1 begins, 1 over, 1=E5, 2 begins, 2 over, 2=bytes");
}

#[test]
fn bytes_that_left_the_operation_are_waited_for() {
    check("holder 1, quick 2, let go 1", "1 begins, 1 over, 2=quick, 1=late!");
}

#[test]
fn an_interrupt_does_not_take_back_bytes_that_left() {
    check("holder 1, interrupt 1, let go 1", "1 begins, 1 over, 1=late!");
}

#[test]
fn requests_beyond_the_limit_are_refused() {
    let script = Script::default();
    let mut setup = wharf::session::Setup::default();
    setup.limits.requests_max = 2;
    let mut volume = Volume::with(ScriptFs::new(&script, Capabilities::empty()), setup).unwrap();
    let open = volume.open("deaf", op::OpenFlags::empty()).unwrap();
    let first = volume.begin(&Ask::read(open, 1, 10));
    let second = volume.begin(&Ask::read(open, 2, 10));
    let third = volume.begin(&Ask::read(open, 3, 10));
    assert_eq!(volume.wait(third).result.unwrap_err(), Errno::ENOMEM);
    script.order(1, Order::Finish);
    script.order(2, Order::Finish);
    assert!(volume.wait(first).result.is_ok() && volume.wait(second).result.is_ok());
}

#[test]
fn around_is_entered_for_every_poll() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    let script = Script::default();
    let entered = Arc::new(AtomicUsize::new(0));
    let counter = entered.clone();
    let around = move |polls: &mut dyn FnMut()| {
        counter.fetch_add(1, SeqCst);
        polls();
    };
    let setup = wharf::session::Setup { around: Some(Arc::new(around)), ..Default::default() };
    let mut volume = Volume::with(ScriptFs::new(&script, Capabilities::empty()), setup).unwrap();
    let open = volume.open("deaf", op::OpenFlags::empty()).unwrap();
    let before = entered.load(SeqCst);
    let request = volume.begin(&Ask::read(open, 1, 10));
    assert_eq!(entered.load(SeqCst), before + 1, "begin");
    volume.turn();
    assert_eq!(entered.load(SeqCst), before + 1, "nothing was woken");
    script.order(1, Order::Finish);
    assert!(volume.wait(request).result.is_ok());
    assert_eq!(entered.load(SeqCst), before + 2, "advance");
}
