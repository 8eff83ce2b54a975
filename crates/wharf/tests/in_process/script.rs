//! A file system that does what a test tells it, when it tells it.
//!
//! The root has files that are named after how their reads behave. A read is known by its offset: it says that it
//! begins, waits for an order, and says what became of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use wharf::op::{self, LockOwner};
use wharf::{
    Attributes, Capabilities, Context, Created, Entry, Error, FileSystem, Listed, Listing, Name, Opened,
    OwnedWindow, Result, Window,
};

/// What a read does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Waits, and ends when its caller gives up.
    Keen,
    /// Waits, and does not care.
    Deaf,
    /// Takes its window along and leaves it with the test.
    Holder,
    /// Answers at once.
    Quick,
}

impl Manner {
    const ALL: [Manner; 4] = [Manner::Keen, Manner::Deaf, Manner::Holder, Manner::Quick];

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    fn inode(self) -> u64 {
        10 + self as u64
    }
}

/// How a waiting read is to end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Finish,
    Panic,
}

#[derive(Default)]
struct State {
    log: Vec<String>,
    orders: HashMap<u64, Order>,
    waiting: HashMap<u64, Waker>,
    held: HashMap<u64, OwnedWindow>,
}

/// What a test and its file system share.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

impl Script {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn say(&self, words: impl Into<String>) {
        self.lock().log.push(words.into());
    }

    /// What was said since the last call.
    pub(crate) fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().log)
    }

    /// Gives an order. Its wake may come from any thread.
    pub(crate) fn order(&self, number: u64, order: Order) {
        let mut state = self.lock();
        state.orders.insert(number, order);
        let waker = state.waiting.remove(&number);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Fills a window that a read left here, and lets go of it.
    pub(crate) fn let_go(&self, number: u64) {
        let held = self.lock().held.remove(&number);
        held.expect("a read left its window").fill(|bytes| bytes[..5].copy_from_slice(b"late!"));
    }

    /// A clone of the waker of a waiting read.
    pub(crate) fn waker(&self, number: u64) -> Waker {
        self.lock().waiting[&number].clone()
    }

    async fn obey(&self, number: u64) -> Result<()> {
        let order = std::future::poll_fn(|cx| {
            let mut state = self.lock();
            match state.orders.remove(&number) {
                Some(order) => Poll::Ready(order),
                None => {
                    state.waiting.insert(number, cx.waker().clone());
                    Poll::Pending
                }
            }
        });
        match order.await {
            Order::Finish => Ok(()),
            Order::Panic => panic!("on purpose"),
        }
    }
}

/// Says its words when it is dropped.
pub(crate) struct Farewell(Script, String);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.say(std::mem::take(&mut self.1));
    }
}

/// One node; its clones are counted by the `Arc`.
pub(crate) type Node = Arc<(u64, Farewell)>;

pub(crate) struct ScriptFs {
    pub(crate) script: Script,
    pub(crate) capabilities: Capabilities,
}

impl ScriptFs {
    pub(crate) fn new(script: &Script, capabilities: Capabilities) -> ScriptFs {
        ScriptFs { script: script.clone(), capabilities }
    }

    fn node(&self, inode: u64) -> Node {
        Arc::new((inode, Farewell(self.script.clone(), format!("node {inode} dropped"))))
    }

    fn entry(&self, manner: Manner) -> Entry<Node> {
        Entry::new(self.node(manner.inode()), Attributes::file(manner.inode(), 100))
    }

    fn named(&self, name: Name<'_>) -> Result<Manner> {
        let found = Manner::ALL.into_iter().find(|manner| manner.name().as_bytes() == name.as_bytes());
        found.ok_or_else(Error::not_found)
    }
}

pub(crate) struct File {
    manner: Manner,
    _farewell: Farewell,
}

impl FileSystem for ScriptFs {
    type Node = Node;
    type File = File;

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn root(&self) -> Node {
        Arc::new((1, Farewell(Script::default(), String::new())))
    }

    async fn shutdown(&self) {
        self.script.say("shutdown");
    }

    async fn lookup(&self, _cx: &Context, _parent: &Node, op: op::Lookup<'_>) -> Result<Entry<Node>> {
        Ok(self.entry(self.named(op.name)?))
    }

    async fn getattr(&self, _cx: &Context, node: &Node, _file: Option<&File>) -> Result<Attributes> {
        Ok(match node.0 {
            1 => Attributes::directory(1),
            inode => Attributes::file(inode, 100),
        })
    }

    async fn open(&self, _cx: &Context, node: &Node, _op: op::Open) -> Result<Opened<File>> {
        let manner = Manner::ALL.into_iter().find(|manner| manner.inode() == node.0);
        let manner = manner.ok_or_else(Error::is_a_directory)?;
        let farewell = Farewell(self.script.clone(), format!("file {} dropped", node.0));
        Ok(Opened::new(File { manner, _farewell: farewell }))
    }

    async fn opendir(&self, _cx: &Context, _node: &Node, _op: op::Open) -> Result<Opened<File>> {
        Ok(Opened::new(File { manner: Manner::Quick, _farewell: Farewell(Script::default(), String::new()) }))
    }

    /// Fails after `deaf` where it is asked to: with an entry told already, that is not an error yet.
    async fn readdir(
        &self,
        _cx: &Context,
        _file: &File,
        op: op::List,
        list: &mut Listing<'_, Node>,
    ) -> Result<()> {
        for (cursor, manner) in (1..).zip(Manner::ALL).skip(op.cursor as usize) {
            let name = manner.name();
            let name = Name::new(name.as_bytes()).expect("manners are names");
            let listed = Listed { name, inode: manner.inode(), kind: wharf::Kind::File, cursor };
            if !list.add_entry(listed, self.entry(manner)) {
                break;
            }
            if manner == Manner::Deaf && self.script.lock().orders.contains_key(&cursor) {
                return Err(Error::io("listing"));
            }
        }
        Ok(())
    }

    async fn create(
        &self,
        _cx: &Context,
        _parent: &Node,
        _op: op::Create<'_>,
    ) -> Result<Created<Node, File>> {
        let farewell = Farewell(self.script.clone(), "file 99 dropped".into());
        let opened = Opened::new(File { manner: Manner::Quick, _farewell: farewell });
        Ok(Created { entry: Entry::new(self.node(99), Attributes::file(99, 0)), opened })
    }

    async fn read(&self, cx: &Context, file: &File, op: op::Read, mut into: Window<'_>) -> Result<usize> {
        let number = op.offset;
        if file.manner == Manner::Quick {
            return Ok(into.put(b"quick"));
        }
        self.script.say(format!("{number} begins"));
        let _farewell = Farewell(self.script.clone(), format!("{number} over"));
        match file.manner {
            Manner::Keen => {
                let result = cx.unless_cancelled(self.script.obey(number)).await;
                if let Err(error) = result {
                    self.script.say(format!("{number} cancelled"));
                    return Err(error);
                }
            }
            Manner::Deaf => self.script.obey(number).await?,
            _ => {
                let held = into.detach();
                self.script.lock().held.insert(number, held);
                return Ok(5);
            }
        }
        Ok(into.put(b"bytes"))
    }

    async fn write(&self, _cx: &Context, file: &File, op: op::Write<'_>) -> Result<usize> {
        if file.manner == Manner::Deaf {
            self.script.obey(op.offset).await?;
        }
        Ok(op.data.len())
    }

    async fn release(&self, _cx: &Context, file: &File, op: op::Release) {
        self.script.say(format!("{} released", file.manner.name()));
        assert_ne!(op.owner, Some(LockOwner(666)), "on purpose");
    }
}
