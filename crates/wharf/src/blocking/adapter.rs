//! A blocking file system as an async one: every operation becomes a job for the pool.

use std::fmt;
use std::sync::Arc;

use wharf_mem::Window;

use crate::error::Result;
use crate::{Attributes, Capabilities, Context, Created, Entry, Extended, IoctlDone, Opened, Statfs, op};

use super::carry::{Carry, Lend};
use super::{FileSystem, Listing, Pool};

/// Runs a [blocking file system](FileSystem) on a [`Pool`].
pub struct Adapter<T> {
    fs: Arc<T>,
    pool: Pool,
}

impl<T: FileSystem> Adapter<T> {
    /// Runs `fs` on `pool`, which may serve others too.
    pub fn new(fs: impl Into<Arc<T>>, pool: Pool) -> Adapter<T> {
        Adapter { fs: fs.into(), pool }
    }

    /// The file system.
    pub fn inner(&self) -> &Arc<T> {
        &self.fs
    }

    async fn run<R: Send + 'static>(
        &self,
        cx: &Context,
        job: impl FnOnce(&T, &Context) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let (fs, cx) = (self.fs.clone(), cx.clone());
        self.pool.run(move || job(&fs, &cx)).await
    }

    /// `waits`: the job may wait for what another job will do.
    async fn run_lock(
        &self,
        cx: &Context,
        waits: bool,
        job: impl FnOnce(&T, &Context) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (fs, cx) = (self.fs.clone(), cx.clone());
        let job = move || job(&fs, &cx);
        if waits { self.pool.run_waiting(job).await } else { self.pool.run(job).await }
    }
}

/// The type of an argument, how it is taken along, and what the method gets.
macro_rules! argument {
    (type node) => { &T::Node };
    (take node $value:ident) => { $value.clone() };
    (give node $value:ident) => { &$value };
    (type file) => { &Arc<T::File> };
    (take file $value:ident) => { $value.clone() };
    (give file $value:ident) => { &*$value };
    (type perhaps) => { Option<&Arc<T::File>> };
    (take perhaps $value:ident) => { $value.cloned() };
    (give perhaps $value:ident) => { $value.as_deref() };
    (type (op $op:ty)) => { $op };
    (take (op $op:ty) $value:ident) => { $value.carry() };
    (give (op $op:ty) $value:ident) => { $value.lend() };
}

macro_rules! on_the_pool {
    ($(fn $method:ident($($name:ident: $sort:tt),*) -> $answer:ty $(, $with:path)?;)*) => {$(
        async fn $method(&self, cx: &Context, $($name: argument!(type $sort)),*) -> Result<$answer> {
            $(let $name = argument!(take $sort $name);)*
            self.run(cx, move |fs, cx| fs.$method(cx, $(argument!(give $sort $name)),*)$(.map($with))?).await
        }
    )*};
}

/// The same for operations with a window, which is filled from the other thread.
macro_rules! on_the_pool_into {
    ($(fn $method:ident($($name:ident: $sort:tt),*) -> $answer:ty;)*) => {$(
        async fn $method(
            &self,
            cx: &Context,
            $($name: argument!(type $sort),)*
            into: Window<'_>,
        ) -> Result<$answer> {
            $(let $name = argument!(take $sort $name);)*
            let mut into = into.detach();
            self.run(cx, move |fs, cx| {
                into.fill(|into| fs.$method(cx, $(argument!(give $sort $name),)* into))
            })
            .await
        }
    )*};
}

impl<T: FileSystem> crate::FileSystem for Adapter<T> {
    type Node = T::Node;
    type File = Arc<T::File>;

    fn capabilities(&self) -> Capabilities {
        self.fs.capabilities()
    }

    fn root(&self) -> T::Node {
        self.fs.root()
    }

    async fn start(&self) -> Result<()> {
        let fs = self.fs.clone();
        self.pool.run(move || fs.start()).await
    }

    async fn shutdown(&self) {
        let fs = self.fs.clone();
        let job = move || {
            fs.shutdown();
            Ok(())
        };
        if let Err(error) = self.pool.run(job).await {
            log::error!("shutdown: {error}");
        }
    }

    fn file(&self, node: &T::Node) -> Result<Arc<T::File>> {
        self.fs.file(node).map(Arc::new)
    }

    on_the_pool! {
        fn lookup(parent: node, op: (op op::Lookup<'_>)) -> Entry<T::Node>;
        fn getattr(node: node, file: perhaps) -> Attributes;
        fn setattr(node: node, file: perhaps, op: (op op::SetAttributes)) -> Attributes;
        fn symlink(parent: node, op: (op op::Symlink<'_>)) -> Entry<T::Node>;
        fn mknod(parent: node, op: (op op::MakeNode<'_>)) -> Entry<T::Node>;
        fn mkdir(parent: node, op: (op op::MakeDirectory<'_>)) -> Entry<T::Node>;
        fn unlink(parent: node, op: (op op::Remove<'_>)) -> ();
        fn rmdir(parent: node, op: (op op::Remove<'_>)) -> ();
        fn rename(parent: node, new_parent: node, op: (op op::Rename<'_>)) -> ();
        fn link(node: node, new_parent: node, op: (op op::Link<'_>)) -> Entry<T::Node>;
        fn open(node: node, op: (op op::Open)) -> Opened<Arc<T::File>>, shared;
        fn opendir(node: node, op: (op op::Open)) -> Opened<Arc<T::File>>, shared;
        fn create(parent: node, op: (op op::Create<'_>)) -> Created<T::Node, Arc<T::File>>, shared_new;
        fn tmpfile(parent: node, op: (op op::Tmpfile)) -> Created<T::Node, Arc<T::File>>, shared_new;
        fn write(file: file, op: (op op::Write<'_>)) -> usize;
        fn flush(file: file, op: (op op::Flush)) -> ();
        fn fsync(file: file, op: (op op::Fsync)) -> ();
        fn fsyncdir(file: file, op: (op op::Fsync)) -> ();
        fn syncfs(node: node) -> ();
        fn statfs(node: node) -> Statfs;
        fn setxattr(node: node, op: (op op::SetXattr<'_>)) -> ();
        fn removexattr(node: node, op: (op op::RemoveXattr<'_>)) -> ();
        fn getlk(file: file, op: (op op::GetLock)) -> Option<op::Lock>;
        fn access(node: node, op: (op op::Access)) -> ();
        fn fallocate(file: file, op: (op op::Fallocate)) -> ();
        fn lseek(file: file, op: (op op::Seek)) -> u64;
        fn copy_file_range(from: file, to: file, op: (op op::CopyRange)) -> u64;
        fn bmap(node: node, op: (op op::Bmap)) -> u64;
        fn poll(file: file, op: (op op::Poll)) -> u32;
        fn statx(node: node, file: perhaps, op: (op op::Statx)) -> Extended;
    }

    on_the_pool_into! {
        fn readlink(node: node) -> usize;
        fn read(file: file, op: (op op::Read)) -> usize;
        fn getxattr(node: node, op: (op op::GetXattr<'_>)) -> usize;
        fn listxattr(node: node) -> usize;
        fn ioctl(file: file, op: (op op::Ioctl<'_>)) -> IoctlDone;
    }

    async fn release(&self, cx: &Context, file: &Arc<T::File>, op: op::Release) {
        let file = file.clone();
        let job = move |fs: &T, cx: &Context| {
            fs.release(cx, &file, op);
            Ok(())
        };
        if let Err(error) = self.run(cx, job).await {
            log::error!("release: {error}");
        }
    }

    async fn setlk(&self, cx: &Context, file: &Arc<T::File>, op: op::SetLock) -> Result<()> {
        let file = file.clone();
        self.run_lock(cx, op.wait, move |fs, cx| fs.setlk(cx, &file, op)).await
    }

    async fn flock(&self, cx: &Context, file: &Arc<T::File>, op: op::Flock) -> Result<()> {
        let file = file.clone();
        self.run_lock(cx, op.wait, move |fs, cx| fs.flock(cx, &file, op)).await
    }

    async fn readdir(
        &self,
        cx: &Context,
        file: &Arc<T::File>,
        op: op::List,
        list: &mut crate::Listing<'_, T::Node>,
    ) -> Result<()> {
        let (file, mut apart) = (file.clone(), Listing::apart_from(list));
        let job = move |fs: &T, cx: &Context| {
            let result = fs.readdir(cx, &file, op, &mut apart);
            Ok((result, apart))
        };
        let (result, apart) = self.run(cx, job).await?;
        apart.pour(list);
        result
    }
}

fn shared<F>(opened: Opened<F>) -> Opened<Arc<F>> {
    opened.map(Arc::new)
}

fn shared_new<N, F>(created: Created<N, F>) -> Created<N, Arc<F>> {
    Created { entry: created.entry, opened: shared(created.opened) }
}

impl<T> fmt::Debug for Adapter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter").field("pool", &self.pool).finish_non_exhaustive()
    }
}
