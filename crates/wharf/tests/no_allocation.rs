//! A warm queue serves requests without asking for memory.
//!
//! In a file of its own, because it counts with an allocator of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::task::Poll;

use wharf::op::{self, OpenFlags};
use wharf::session::{Operation, Reply};
use wharf::testing::{Ask, Open, Volume};
use wharf::{Attributes, Capabilities, Context, Entry, FileSystem, NodeId, Opened, Result, Window};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has no counter any more, and is not the one that is looked at.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the pointer is from `System`, like all that this allocator hands out.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One file; a read at an odd offset is pending once.
struct Plain;

impl FileSystem for Plain {
    type Node = u64;
    type File = ();

    fn capabilities(&self) -> Capabilities {
        Capabilities::WRITE
    }

    fn root(&self) -> u64 {
        1
    }

    async fn lookup(&self, _cx: &Context, _parent: &u64, _op: op::Lookup<'_>) -> Result<Entry<u64>> {
        Ok(Entry::new(2, Attributes::file(2, 4096)))
    }

    async fn getattr(&self, _cx: &Context, node: &u64, _file: Option<&()>) -> Result<Attributes> {
        Ok(Attributes::file(*node, 4096))
    }

    async fn open(&self, _cx: &Context, _node: &u64, _op: op::Open) -> Result<Opened<()>> {
        Ok(Opened::new(()))
    }

    async fn read(&self, cx: &Context, _file: &(), op: op::Read, mut into: Window<'_>) -> Result<usize> {
        if op.offset % 2 == 1 {
            cx.unless_cancelled(pending_once()).await?;
        }
        into.fill(|bytes| bytes.fill(7));
        Ok(into.len())
    }

    async fn write(&self, _cx: &Context, _file: &(), op: op::Write<'_>) -> Result<usize> {
        Ok(op.data.len())
    }
}

async fn pending_once() -> Result<()> {
    let mut came = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut came, true) {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

const WARM_UP: u32 = 100;
const REQUESTS: u32 = 10_000;

/// Sends the request again and again; returns how many allocations that took once warm.
fn allocations(volume: &mut Volume<Plain>, ask: &Ask, fits: fn(&Reply, &[u8]) -> bool) -> u64 {
    let mut send = |times| {
        for _ in 0..times {
            let request = volume.begin(ask);
            volume.wait_with(request, |result, bytes| {
                let reply = result.expect("the request succeeds");
                assert!(fits(&reply, bytes), "{reply:?}");
            });
        }
    };
    send(WARM_UP);
    let before = ALLOCATIONS.get();
    send(REQUESTS);
    ALLOCATIONS.get() - before
}

fn file(volume: &mut Volume<Plain>) -> Open {
    volume.open("file", OpenFlags::empty()).expect("the file is there")
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    std::hint::black_box(Box::new(7));
    assert_eq!(ALLOCATIONS.get(), before + 1);
}

#[test]
fn a_lookup_takes_no_memory() {
    let mut volume = Volume::new(Plain);
    let ask = Ask::new("lookup", NodeId::ROOT, |parts| {
        Ok(Operation::Lookup { op: op::Lookup { name: parts.name()? } })
    });
    let taken = allocations(&mut volume, &ask.string("file"), |reply, _| matches!(reply, Reply::Entry(_)));
    assert_eq!(taken, 0);
    let node = volume.walk("file").expect("the file is there");
    assert_eq!(volume.lookups(node), u64::from(WARM_UP + REQUESTS + 1));
    volume.forget_all();
    assert_eq!(volume.counts(), (0, 0));
}

#[test]
fn asking_for_attributes_takes_no_memory() {
    let mut volume = Volume::new(Plain);
    let Open { node, handle } = file(&mut volume);
    let ask = Ask::new("getattr", node, move |_| Ok(Operation::GetAttributes { handle: Some(handle) }));
    assert_eq!(allocations(&mut volume, &ask, |reply, _| matches!(reply, Reply::Attributes(..))), 0);
}

#[test]
fn a_read_takes_no_memory() {
    let mut volume = Volume::new(Plain);
    let ask = Ask::read(file(&mut volume), 0, 4096);
    assert_eq!(allocations(&mut volume, &ask, |_, bytes| bytes == [7; 4096]), 0);
}

#[test]
fn a_read_that_is_pending_and_woken_takes_no_memory() {
    let mut volume = Volume::new(Plain);
    let ask = Ask::read(file(&mut volume), 1, 4096);
    assert_eq!(allocations(&mut volume, &ask, |_, bytes| bytes == [7; 4096]), 0);
}

#[test]
fn a_write_takes_no_memory() {
    let mut volume = Volume::new(Plain);
    let ask = Ask::write(file(&mut volume), 0).data(vec![1; 4096]);
    assert_eq!(allocations(&mut volume, &ask, |reply, _| matches!(reply, Reply::Written(4096))), 0);
}
