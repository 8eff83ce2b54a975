use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use wharf_mem::{BLOCK_BYTES, Payload};

use super::evict::Surroundings;
use super::{Began, Block, Cache, Evictor, File, Keeper, Plan, Shelf, Waiter};

/// For how long pins may stand in the way.
const WAIT: Duration = Duration::from_millis(100);

struct Nobody;

impl Surroundings for Nobody {
    fn who_pins(&self, _: u64, _: u64) -> Option<u64> {
        None
    }

    fn was_touched(&self, _: u64, _: u64) -> bool {
        // Whoever says that he reads everything changes nothing.
        true
    }

    fn hang_up(&self, client: u64) {
        panic!("client {client} holds nothing");
    }

    fn again(&self, _: Waiter) {}
}

/// One client says that it holds everything, another holds the first block.
struct Greedy(Arc<AtomicBool>);

impl Surroundings for Greedy {
    fn who_pins(&self, _: u64, block: u64) -> Option<u64> {
        let greedy = (!self.0.load(SeqCst)).then_some(9);
        if block == 0 { Some(1) } else { greedy }
    }

    fn was_touched(&self, _: u64, _: u64) -> bool {
        false
    }

    fn hang_up(&self, client: u64) {
        assert_eq!(client, 9, "the one that holds most");
        self.0.store(true, SeqCst);
    }

    fn again(&self, _: Waiter) {}
}

fn waiter(slot: usize) -> Waiter {
    Waiter { queue: 0, client: 1, slot }
}

fn plan(file: &File, block: u64) -> Plan {
    file.plan(block * BLOCK_BYTES + 5, 10, waiter(block as usize))
}

/// Has a block of a file of `size` bytes kept.
fn keep(file: &Arc<File>, size: u64, block: u64) {
    for _ in 0..4 {
        match plan(file, block) {
            Plan::Plain => {}
            Plan::Measure(began) => assert_eq!(file.measured(began, Some(size)).len(), 1),
            Plan::Fill(began) => {
                let len = (size - block * BLOCK_BYTES).min(BLOCK_BYTES);
                let (waiting, there) = filled(file, began, Some(&vec![block as u8; len as usize]));
                assert!(there && waiting == [waiter(block as usize)]);
            }
            Plan::InSection => return,
            Plan::Wait => panic!("nobody else is there"),
        }
    }
    panic!("block {block} is not kept");
}

fn filled(file: &Arc<File>, began: Began, bytes: Option<&[u8]>) -> (Vec<Waiter>, bool) {
    file.filled(began, file.begin_fill(began), bytes)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_block_earns_its_place_at_the_second_read_and_is_filled_once() {
    let cache = Cache::new(1 << 20);
    let file = cache.open(7);
    assert_eq!(plan(&file, 0), Plan::Plain);
    let Plan::Measure(began) = plan(&file, 0) else { panic!("a size") };
    assert_eq!(plan(&file, 0), Plan::Wait);
    assert_eq!(file.measured(began, Some(100_000)).len(), 2);
    let Plan::Fill(began) = plan(&file, 0) else { panic!("a block") };
    assert_eq!(plan(&file, 0), Plan::Wait);
    assert_eq!(filled(&file, began, Some(&[1; 65_536])), (vec![waiter(0); 2], true));
    assert_eq!(plan(&file, 0), Plan::InSection);
    assert_eq!(file.plan(65_000, 1000, waiter(0)), Plan::Plain, "of two blocks");
    assert_eq!(cache.usage(), (BLOCK_BYTES, 1));
    assert_eq!((plan(&file, 5), plan(&file, 5)), (Plan::Plain, Plan::Plain), "beyond the end");
}

#[test]
fn who_waits_for_a_block_has_his_bytes_before_it_is_kept_unless_it_has_changed() {
    let cache = Cache::new(1 << 20);
    let file = cache.open(7);
    keep(&file, 300_000, 0);
    assert_eq!(plan(&file, 1), Plan::Plain);
    let Plan::Fill(began) = plan(&file, 1) else { panic!("a block") };
    let elsewhere = Waiter { queue: 1, client: 2, slot: 3 };
    assert_eq!(file.plan(BLOCK_BYTES, 10, elsewhere), Plan::Wait);
    let fill = file.begin_fill(began);
    assert_eq!(file.served(began, 0), [waiter(1)]);
    assert_eq!(file.served(began, 0), [], "they have been answered");
    assert_eq!(plan(&file, 1), Plan::Wait, "it is not there yet");
    assert_eq!(file.filled(began, fill, Some(&[1; 65_536])), (vec![elsewhere, waiter(1)], true));
    assert_eq!(plan(&file, 2), Plan::Plain);
    let Plan::Fill(began) = plan(&file, 2) else { panic!("a block") };
    let fill = file.begin_fill(began);
    cache.changed(7, 0..1);
    assert_eq!(file.served(began, 0), [], "who asked after the change must not have what was read before it");
    assert_eq!(file.filled(began, fill, Some(&[1; 65_536])), (vec![waiter(2)], false));
}

#[test]
fn blocks_are_kept_by_a_thread_and_those_that_are_too_many_by_who_has_them() {
    let cache = Cache::new(8 << 20);
    let (file, shelf) = (cache.open(7), Arc::new(Shelf::default()));
    keep(&file, 4 << 20, 0);
    let read = |number: u64| {
        assert_eq!(plan(&file, number), Plan::Plain);
        let Plan::Fill(began) = plan(&file, number) else { panic!("a block") };
        let fill = file.begin_fill(began).expect("nobody else fills it");
        let (payload, len) = (Payload::anonymous(BLOCK_BYTES as usize).unwrap(), BLOCK_BYTES as usize);
        Block { file: file.clone(), began, fill, payload, len }
    };
    let full = (1..60).find_map(|number| shelf.put(read(number)).err().map(|block| (number, block)));
    let (number, block) = full.expect("there is a limit");
    let (_, waiting, there) = block.keep();
    assert!(there && waiting == [waiter(number as usize)]);
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tells = told.clone();
    drop(
        Keeper::start(shelf.clone(), move |waiter, there| tells.lock().unwrap().push((waiter, there)))
            .unwrap(),
    );
    let expected: Vec<_> = (1..number as usize).map(|number| (waiter(number), true)).collect();
    assert_eq!(*told.lock().unwrap(), expected, "all, in their order, before it ended");
    assert!((0..=number).all(|number| plan(&file, number) == Plan::InSection));
    assert!(shelf.spare().is_some(), "their memory is used again");
    assert!(shelf.put(read(number + 1)).is_err(), "after the end");
}

#[test]
fn small_files_and_files_shorter_than_they_say_are_not_kept() {
    let cache = Cache::new(1 << 20);
    let small = cache.open(1);
    plan(&small, 0);
    let Plan::Measure(began) = plan(&small, 0) else { panic!("a size") };
    small.measured(began, Some(1000));
    assert_eq!((plan(&small, 0), plan(&small, 0)), (Plan::Plain, Plan::Plain));
    let short = cache.open(2);
    plan(&short, 0);
    let Plan::Measure(began) = plan(&short, 0) else { panic!("a size") };
    short.measured(began, Some(65_536));
    let Plan::Fill(began) = plan(&short, 0) else { panic!("a block") };
    assert_eq!(filled(&short, began, Some(&[0; 1000])), (vec![waiter(0)], false));
}

#[test]
fn what_began_before_a_change_is_thrown_away() {
    let cache = Cache::new(1 << 20);
    let file = cache.open(7);
    keep(&file, 200_000, 1);
    plan(&file, 0);
    let Plan::Fill(began) = plan(&file, 0) else { panic!("a block") };
    cache.changed(7, 70_000..70_001);
    assert_eq!(filled(&file, began, Some(&[0; 65_536])), (vec![waiter(0)], false));
    assert_eq!(plan(&file, 1), Plan::Plain, "the changed block is asked for anew");
    let section = file.section().unwrap();
    cache.changed(7, 0..u64::MAX);
    assert!(file.section().is_none(), "the size may be another one");
    drop(section);
}

#[test]
fn the_budget_holds_and_what_is_used_stays_longest() {
    let cache = Cache::new(64 * BLOCK_BYTES);
    let _evictor = Evictor::start(cache.clone(), Nobody, WAIT).unwrap();
    let file = cache.open(7);
    let size = 1000 * BLOCK_BYTES;
    let mut kept = 0;
    for block in 0..300 {
        until("room is made", || {
            // Without room it is answered in a slot, and asked for again.
            match plan(&file, block) {
                Plan::Measure(began) => _ = file.measured(began, Some(size)),
                Plan::Fill(began) => _ = filled(&file, began, Some(&[1; 65_536])),
                Plan::InSection => return true,
                Plan::Plain | Plan::Wait => {}
            }
            assert!(cache.usage().0 <= 64 * BLOCK_BYTES);
            false
        });
        kept += 1;
        let section = &file.section().unwrap().section;
        assert!(section.allocated_bytes() <= 67 * BLOCK_BYTES, "{} bytes", section.allocated_bytes());
    }
    assert_eq!(kept, 300);
}

/// Asks for a block until it is kept, or there is no room for it.
fn ask(file: &Arc<File>, block: u64) -> bool {
    for _ in 0..3 {
        match plan(file, block) {
            Plan::Measure(began) => _ = file.measured(began, Some(1000 * BLOCK_BYTES)),
            Plan::Fill(began) => _ = filled(file, began, Some(&[1; 65_536])),
            Plan::InSection => return true,
            Plan::Plain | Plan::Wait => {}
        }
    }
    false
}

#[test]
fn who_holds_everything_for_too_long_is_hung_up_and_who_holds_little_is_not() {
    let cache = Cache::new(64 * BLOCK_BYTES);
    let hung_up = Arc::new(AtomicBool::new(false));
    let _evictor = Evictor::start(cache.clone(), Greedy(hung_up.clone()), WAIT).unwrap();
    let file = cache.open(7);
    let began = Instant::now();
    for block in 0..300 {
        until("room is made", || ask(&file, block));
        assert!(block < 64 || hung_up.load(SeqCst), "block {block}: everything is held");
    }
    assert!(began.elapsed() >= WAIT, "it had its time");
    until("what the other holds is there", || plan(&file, 0) == Plan::InSection);
}

#[test]
fn what_nobody_needs_is_forgotten() {
    let cache = Cache::new(1 << 20);
    let evictor = Evictor::start(cache.clone(), Nobody, WAIT).unwrap();
    let (one, two) = (cache.open(1), cache.open(2));
    keep(&two, 200_000, 0);
    cache.close(&one);
    assert_eq!(cache.files(), 1);
    cache.close(&two);
    assert_eq!(cache.files(), 1, "its bytes are kept for the next who opens it");
    cache.clear();
    drop(evictor);
    assert_eq!((cache.files(), cache.usage()), (0, (0, 0)));
}

#[test]
fn what_nobody_waits_for_drives_others_out_only_now_and_then() {
    // Nobody evicts here.
    let cache = Cache::new(16 * BLOCK_BYTES);
    let file = cache.open(7);
    for block in 0..14 {
        assert!(cache.admits());
        keep(&file, 16 * BLOCK_BYTES, block);
    }
    assert!(cache.admits());
    keep(&file, 16 * BLOCK_BYTES, 14);
    assert_eq!((0..160).filter(|_| cache.admits()).count(), 10);
}
