//! A second transport beside the first: the same files, and what each learns of the other.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use wharf::notice::Notice;
use wharf::op::{self, OpenFlags};
use wharf::session::{
    Arrival, Completion, Doorbell, EntryForm, Guest, Line, ListForm, Operation, Pass, Queue, Reply, Request,
    TICKET_BYTES, TICKET_COMMAND, Tickets, Watch,
};
use wharf::testing::{Ask, Volume};
use wharf::{
    Attributes, Caller, Capabilities, Context, Created, Data, Entry, Errno, Error, FileSystem, HandleId,
    Host, Name, NodeId, Opened, RequestId, Result, Window,
};
use wharf_mem::Payload;

/// One file, `file`, of ten bytes at first; what happens to it is written down.
#[derive(Clone, Default)]
struct One {
    bytes: Arc<Mutex<Vec<u8>>>,
    log: Arc<Mutex<Vec<&'static str>>>,
    /// What it can do, if that is not to be written, and its mode.
    other: Option<(Capabilities, u16)>,
}

impl FileSystem for One {
    type Node = u64;
    type File = ();

    fn capabilities(&self) -> Capabilities {
        self.other.map_or(Capabilities::WRITE, |(can, _)| can)
    }

    fn file(&self, _: &u64) -> Result<()> {
        Ok(())
    }

    fn root(&self) -> u64 {
        1
    }

    async fn lookup(&self, _: &Context, _: &u64, op: op::Lookup<'_>) -> Result<Entry<u64>> {
        if op.name.as_bytes() != b"file" {
            return Err(Error::not_found());
        }
        Ok(Entry::new(2, Attributes::file(2, self.bytes.lock().unwrap().len() as u64)))
    }

    async fn create(&self, _: &Context, _: &u64, _: op::Create<'_>) -> Result<Created<u64, ()>> {
        Ok(Created { entry: Entry::new(2, Attributes::file(2, 0)), opened: Opened::new(()) })
    }

    async fn getattr(&self, _: &Context, node: &u64, _: Option<&()>) -> Result<Attributes> {
        let permissions = self.other.map_or(0o644, |(_, mode)| mode);
        Ok(if *node == 1 {
            Attributes::directory(1)
        } else {
            Attributes { permissions, ..Attributes::file(2, 10) }
        })
    }

    async fn setattr(
        &self,
        _: &Context,
        _: &u64,
        _: Option<&()>,
        op: op::SetAttributes,
    ) -> Result<Attributes> {
        let size = op.size.unwrap_or(10);
        self.bytes.lock().unwrap().resize(size as usize, 0);
        Ok(Attributes::file(2, size))
    }

    async fn open(&self, _: &Context, _: &u64, _: op::Open) -> Result<Opened<()>> {
        self.log.lock().unwrap().push("open");
        Ok(Opened::new(()))
    }

    async fn release(&self, _: &Context, _: &(), _: op::Release) {
        self.log.lock().unwrap().push("release");
    }

    async fn read(&self, _: &Context, _: &(), op: op::Read, mut into: Window<'_>) -> Result<usize> {
        Ok(into.put(self.bytes.lock().unwrap().get(op.offset as usize..).unwrap_or_default()))
    }

    async fn write(&self, _: &Context, _: &(), op: op::Write<'_>) -> Result<usize> {
        let mut bytes = self.bytes.lock().unwrap();
        let end = op.offset as usize + op.data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[op.offset as usize..end].copy_from_slice(&op.data);
        Ok(op.data.len())
    }
}

/// A guest whose requests are a letter and a number.
struct Letters;

impl Guest for Letters {
    fn decode<'a>(
        &'a self,
        head: &'a [u8],
        data: Option<Data<'a>>,
    ) -> std::result::Result<Request<'a>, Errno> {
        let (letter, number) = head.split_first().ok_or(Errno::EINVAL)?;
        let number = u64::from_le_bytes(number.try_into().map_err(|_| Errno::EINVAL)?);
        let flags = OpenFlags::READ_WRITE;
        let handle = HandleId(number);
        let file = NodeId::new(if *letter == b'o' { number } else { 1 }).ok_or(Errno::EINVAL)?;
        let operation = match letter {
            b'l' => Operation::Lookup { op: op::Lookup { name: Name::new(b"file").ok_or(Errno::EINVAL)? } },
            b'o' => Operation::Open { op: op::Open { flags, kill_privileges: false } },
            b'r' => Operation::Read { handle, op: op::Read { offset: 0, size: 10, flags, owner: None } },
            b'w' => {
                let data = data.ok_or(Errno::EINVAL)?;
                let (from_cache, kill_privileges) = (false, false);
                let op = op::Write { offset: 0, data, flags, owner: None, from_cache, kill_privileges };
                Operation::Write { handle, op }
            }
            b'c' => {
                Operation::Release { handle, op: op::Release { flags, owner: None, unlock_flock: false } }
            }
            _ => return Err(Errno::EINVAL),
        };
        Ok(Request { node: file, caller: Caller { uid: 1, gid: 1, pid: 0 }, operation })
    }
}

impl ListForm for Letters {
    fn bytes(&self, name_bytes: usize, _: EntryForm) -> usize {
        name_bytes
    }

    fn put(&self, into: &mut Window<'_>, at: usize, line: &Line<'_>) {
        into.put_at(at, line.name);
    }
}

#[derive(Debug)]
struct NoIo;

impl Host for NoIo {
    fn submit(&self, _: wharf::io::Request) {}

    fn groups(&self, _: u32) -> std::io::Result<Vec<u32>> {
        Ok(Vec::new())
    }
}

impl Doorbell for NoIo {
    fn ring(&self) {}
}

#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Watch for Notes {
    fn changed(&self, inode: u64, range: Range<u64>) {
        self.0.lock().unwrap().push(format!("{inode} {range:?}"));
    }

    fn written(&self, inode: u64, by_somebody: bool) {
        let how = if by_somebody { "is written" } else { "is quiet" };
        self.0.lock().unwrap().push(format!("{inode} {how}"));
    }

    fn names(&self, _: u64, _: bool) {}

    fn noticed(&self, _: &Notice) {}
}

#[derive(Debug, Default)]
struct Passes(Mutex<Option<Pass>>);

impl Tickets for Passes {
    fn issue(&self, pass: Pass) -> Option<[u8; TICKET_BYTES]> {
        // One at a time.
        let mut kept = self.0.lock().unwrap();
        if kept.is_some() {
            return None;
        }
        *kept = Some(pass);
        Some([7; TICKET_BYTES])
    }
}

struct Visitor {
    queue: Box<dyn Queue + Send>,
    requests: u64,
}

impl Visitor {
    fn of(volume: &Volume<One>) -> Visitor {
        let session = volume.session();
        let (queue, _) = session.guest_queue(Arc::new(Letters), 16, Arc::new(NoIo), Box::new(NoIo));
        Visitor { queue, requests: 0 }
    }

    fn begin(&mut self, letter: u8, number: u64, data: Option<&[u8]>) -> Option<Completion> {
        let mut payload = Payload::anonymous(4096).unwrap();
        let mut head = vec![letter];
        head.extend(number.to_le_bytes());
        if let Some(data) = data {
            payload.bytes_mut().unwrap()[..data.len()].copy_from_slice(data);
        }
        self.requests += 1;
        let request = RequestId(self.requests);
        let data = data.map(<[u8]>::len);
        self.queue.begin(Arrival { tag: 0, request, name: "visit", head, data, payload })
    }

    fn ask(&mut self, letter: u8, number: u64) -> (std::result::Result<Reply, Errno>, Payload) {
        let completion = self.begin(letter, number, None).expect("it ends at once");
        (completion.result, completion.payload)
    }
}

fn volume() -> (One, Volume<One>) {
    let fs = One::default();
    fs.bytes.lock().unwrap().extend(b"0123456789");
    (fs.clone(), Volume::new(fs))
}

#[test]
fn a_guest_uses_the_same_nodes_and_files() {
    let (fs, volume) = volume();
    let mut visitor = Visitor::of(&volume);
    let (Ok(Reply::Entry(entry)), _) = visitor.ask(b'l', 0) else { panic!("a file") };
    let (Ok(Reply::Opened(open)), _) = visitor.ask(b'o', entry.node.get()) else { panic!("an open file") };
    assert_eq!(volume.counts(), (1, 1));
    assert_eq!(volume.files_open(), 0, "the first transport knows nothing of it");
    let (read, mut payload) = visitor.ask(b'r', open.handle.0);
    assert!(matches!(read, Ok(Reply::Bytes(10))));
    assert_eq!(&payload.bytes_mut().unwrap()[..10], b"0123456789");
    assert!(matches!(visitor.ask(b'c', open.handle.0).0, Ok(Reply::Nothing)));
    volume.session().forget(entry.node, 1);
    assert_eq!(volume.counts(), (0, 0));
    assert_eq!(*fs.log.lock().unwrap(), ["open", "release"]);
    assert!(matches!(visitor.ask(b'?', 0).0, Err(Errno::EINVAL)));
}

#[test]
fn who_watches_hears_of_every_change_before_it_is_answered() {
    let (_fs, mut volume) = volume();
    let notes = Arc::<Notes>::default();
    volume.session().watch(notes.clone());
    let open = volume.open("file", OpenFlags::READ_WRITE).unwrap();
    assert_eq!(notes.taken(), ["2 is written"]);
    volume.write_at(open, 3, b"abc").unwrap();
    assert_eq!(notes.taken(), ["2 3..6"]);
    volume.setattr("file", op::SetAttributes { size: Some(4), ..op::SetAttributes::default() }).unwrap();
    assert_eq!(notes.taken(), [format!("2 0..{}", u64::MAX)]);
    volume.notifier().contents(2);
    assert_eq!(notes.taken(), [format!("2 0..{}", u64::MAX)]);
}

#[test]
fn who_watches_hears_when_the_first_opens_a_file_for_writing_and_when_the_last_has_gone() {
    let (_fs, mut volume) = volume();
    let notes = Arc::<Notes>::default();
    let is_written = |volume: &Volume<One>| {
        let mut told = None;
        volume.session().written(2, &mut |written| told = Some(written));
        told.unwrap()
    };
    // Whoever watches comes late.
    let first = volume.open("file", OpenFlags::READ_WRITE).unwrap();
    volume.session().watch(notes.clone());
    let reads = volume.open("file", OpenFlags::empty()).unwrap();
    let second = volume.open("file", OpenFlags::WRITE_ONLY).unwrap();
    assert!(is_written(&volume) && notes.taken().is_empty());
    volume.close(first).unwrap();
    assert!(is_written(&volume) && notes.taken().is_empty());
    volume.close(second).unwrap();
    assert!(!is_written(&volume));
    assert_eq!(notes.taken(), ["2 is quiet"]);
    volume.close(reads).unwrap();
    // Who never heard that the file is open does not write to it.
    let node = volume.walk("file").unwrap();
    let op = op::Open { flags: OpenFlags::READ_WRITE, kill_privileges: false };
    let lost = volume.call(&Ask::new("open", node, move |_| Ok(Operation::Open { op }))).unwrap();
    assert_eq!(notes.taken(), ["2 is written"]);
    volume.undo(&lost);
    assert!(!is_written(&volume));
    assert_eq!(notes.taken(), ["2 is quiet"]);
    // A guest's writing is heard of byte for byte.
    let mut visitor = Visitor::of(&volume);
    let (Ok(Reply::Entry(entry)), _) = visitor.ask(b'l', 0) else { panic!("a file") };
    assert!(matches!(visitor.ask(b'o', entry.node.get()).0, Ok(Reply::Opened(_))));
    assert!(!is_written(&volume) && notes.taken().is_empty());
}

#[test]
fn a_guests_write_is_answered_when_the_kernel_has_heard_of_it() {
    let (_fs, volume) = volume();
    let mut visitor = Visitor::of(&volume);
    let (Ok(Reply::Entry(entry)), _) = visitor.ask(b'l', 0) else { panic!("a file") };
    let (Ok(Reply::Opened(open)), _) = visitor.ask(b'o', entry.node.get()) else { panic!("an open file") };
    // The request names the root, which has an inode number too.
    assert!(visitor.begin(b'w', open.handle.0, Some(b"xyz")).is_none(), "it waits");
    let notice = volume.notifier().next().unwrap();
    assert!(format!("{:?}", notice.notice).contains("range: 0..3"));
    notice.confirm(Ok(Vec::new()));
    visitor.queue.take_wakes();
    let mut ended = Vec::new();
    visitor.queue.advance(&mut |completion| ended.push(completion));
    assert!(matches!(ended[0].result, Ok(Reply::Written(3))));
}

#[test]
fn where_files_need_no_opening_nobody_is_told_that_all_who_write_have_gone() {
    let can = Capabilities::WRITE | Capabilities::STATELESS_FILES;
    let mut volume = Volume::new(One { other: Some((can, 0o644)), ..One::default() });
    let notes = Arc::<Notes>::default();
    volume.session().watch(notes.clone());
    // The one that is opened nevertheless.
    let made = volume.create("file").unwrap();
    volume.close(made).unwrap();
    assert!(notes.taken().is_empty());
    volume.session().written(2, &mut |written| assert!(written));
}

fn ticket(node: NodeId, handle: HandleId) -> Ask {
    Ask::new("ioctl", node, move |_| {
        let (argument, compat, output_bytes_max) = (0, false, TICKET_BYTES as u32);
        let op = op::Ioctl { command: TICKET_COMMAND, argument, input: &[], output_bytes_max, compat };
        Ok(Operation::Ioctl { handle, directory: false, op })
    })
}

#[test]
fn a_ticket_is_an_open_file_of_its_own_with_the_same_rights() {
    let (fs, mut volume) = volume();
    let node = volume.walk("file").unwrap();
    let open = volume.open_node(node, OpenFlags::empty()).unwrap();
    assert_eq!(
        volume.call(&ticket(node, open.handle)).unwrap_err(),
        Errno::ENOTTY,
        "nobody gives tickets out"
    );
    let passes = Arc::<Passes>::default();
    volume.session().tickets(passes.clone());
    assert_eq!(volume.call_for_bytes(&ticket(node, open.handle)), Ok(vec![7; TICKET_BYTES]));
    let pass = passes.0.lock().unwrap().expect("it was issued");
    assert_eq!((pass.inode, pass.uid, pass.writes), (2, 1000, false));
    assert_eq!(volume.call(&ticket(node, open.handle)).unwrap_err(), Errno::EBUSY);
    assert_eq!(*fs.log.lock().unwrap(), ["open", "open", "open", "release"], "what was refused is closed");
    volume.close(open).unwrap();
    volume.forget_all();
    assert_eq!(volume.counts(), (1, 1), "the pass keeps both");
    let write_only = {
        passes.0.lock().unwrap().take();
        let node = volume.walk("file").unwrap();
        let open = volume.open_node(node, OpenFlags::WRITE_ONLY).unwrap();
        volume.call(&ticket(node, open.handle))
    };
    assert_eq!(write_only.unwrap_err(), Errno::EBADF);
}

/// What a ticket to a file says that is open under `handle`, in a volume that can do this.
fn ticket_of(can: Capabilities, mode: u16, handle: u64) -> std::result::Result<Pass, Errno> {
    let mut volume = Volume::new(One { other: Some((can, mode)), ..One::default() });
    let passes = Arc::<Passes>::default();
    volume.session().tickets(passes.clone());
    let node = volume.walk("file").unwrap();
    volume.call(&ticket(node, HandleId(handle)))?;
    let pass = passes.0.lock().unwrap().expect("it was issued");
    volume.forget_all();
    assert_eq!(volume.counts(), (1, 0), "the pass keeps the node");
    Ok(pass)
}

#[test]
fn a_file_that_nobody_opens_has_tickets_to_read_it_where_nothing_can_be_written() {
    let unopened = Capabilities::STATELESS_FILES;
    let pass = ticket_of(unopened, 0o444, 0).unwrap();
    assert_eq!((pass.handle, pass.writes, pass.keeps), (HandleId(0), false, true));
    assert_eq!(ticket_of(unopened, 0o440, 0).unwrap_err(), Errno::ENOTTY, "perhaps opened to be written");
    assert_eq!(ticket_of(unopened | Capabilities::WRITE, 0o644, 0).unwrap_err(), Errno::ENOTTY);
    assert_eq!(ticket_of(unopened, 0o444, 7).unwrap_err(), Errno::EBADF);
    assert_eq!(ticket_of(Capabilities::empty(), 0o444, 0).unwrap_err(), Errno::EBADF);
}

#[test]
fn a_volume_whose_writes_the_kernel_collects_gives_no_tickets() {
    let can = Capabilities::WRITE | Capabilities::WRITEBACK;
    let mut volume = Volume::new(One { other: Some((can, 0o644)), ..One::default() });
    volume.session().tickets(Arc::<Passes>::default());
    let node = volume.walk("file").unwrap();
    let open = volume.open_node(node, OpenFlags::empty()).unwrap();
    assert_eq!(volume.call(&ticket(node, open.handle)).unwrap_err(), Errno::ENOTTY);
    volume.close(open).unwrap();
}
