//! A directory with one file in it.
use wharf::*;
use wharf_fuse::{Mount, mount::Options};

struct Hello(&'static str);
impl FileSystem for Hello {
    type Node = u64; // 1 is the directory, 2 is the file.
    type File = u64;
    fn capabilities(&self) -> Capabilities {
        Capabilities::STATELESS_FILES | Capabilities::STATELESS_DIRECTORIES
    }
    fn root(&self) -> u64 {
        1
    }
    fn file(&self, node: &u64) -> Result<u64> {
        Ok(*node)
    }
    async fn lookup(&self, cx: &Context, _: &u64, op: op::Lookup<'_>) -> Result<Entry<u64>> {
        let node = (op.name.as_bytes() == b"hello").then_some(2).ok_or_else(Error::not_found)?;
        Ok(Entry::new(node, self.getattr(cx, &node, None).await?))
    }
    async fn getattr(&self, _: &Context, node: &u64, _: Option<&u64>) -> Result<Attributes> {
        Ok(if *node == 1 { Attributes::directory(1) } else { Attributes::file(2, self.0.len() as u64) })
    }
    async fn read(&self, _: &Context, _: &u64, op: op::Read, mut into: Window<'_>) -> Result<usize> {
        Ok(into.put(self.0.as_bytes().get(op.offset as usize..).unwrap_or_default()))
    }
    async fn readdir(&self, _: &Context, _: &u64, op: op::List, list: &mut Listing<'_, u64>) -> Result<()> {
        let Some(name) = Name::new(b"hello").filter(|_| op.cursor == 0) else { return Ok(()) };
        let _room = list.add(Listed { name, inode: 2, kind: Kind::File, cursor: 1 });
        Ok(())
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let point = std::env::args_os().nth(1).ok_or("say where: hello DIRECTORY")?;
    Mount::new(Hello("Hello, world!\n"), Options::new("hello", "hello:")?).at(point)?.wait();
    Ok(())
}
