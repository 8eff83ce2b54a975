//! The kernel's form of a directory entry.

use wharf::Window;
use wharf::session::{EntryForm, Line, ListForm};
use zerocopy::IntoBytes;

use super::abi::{Dirent, Direntplus, EntryOut, record_bytes};
use super::encode::entry_out;

/// `struct fuse_dirent` and `struct fuse_direntplus`, each padded to eight bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct DirentForm;

impl ListForm for DirentForm {
    fn bytes(&self, name_bytes: usize, form: EntryForm) -> usize {
        let fixed = match form {
            EntryForm::Plain => size_of::<Dirent>(),
            EntryForm::Whole => size_of::<Direntplus>(),
        };
        record_bytes(fixed + name_bytes)
    }

    fn put(&self, into: &mut Window<'_>, at: usize, line: &Line<'_>) {
        let dirent = Dirent {
            ino: line.inode,
            off: line.cursor,
            // A window holds less than 4 GiB, and the name fits into it.
            namelen: line.name.len() as u32,
            r#type: line.kind.dirent_type().into(),
        };
        let bytes = self.bytes(line.name.len(), line.form);
        into.fill(|buffer| {
            let Some(record) = buffer.get_mut(at..).and_then(|rest| rest.get_mut(..bytes)) else { return };
            match line.form {
                EntryForm::Plain => put(record, dirent.as_bytes(), line.name),
                EntryForm::Whole => {
                    // Node 0 tells the kernel nothing, and it counts no lookup.
                    let entry_out = line.entry.map_or_else(EntryOut::default, entry_out);
                    put(record, Direntplus { entry_out, dirent }.as_bytes(), line.name);
                }
            }
        });
    }
}

/// Fills `record` with a fixed part, a name and zeros.
fn put(record: &mut [u8], fixed: &[u8], name: &[u8]) {
    let (front, rest) = record.split_at_mut(fixed.len());
    front.copy_from_slice(fixed);
    let (middle, padding) = rest.split_at_mut(name.len());
    middle.copy_from_slice(name);
    padding.fill(0);
}
