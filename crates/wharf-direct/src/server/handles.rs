//! What one client has open, under numbers that mean nothing to another.

use std::sync::Arc;

use wharf::{HandleId, NodeId};

use super::cache::File;

/// A file or directory that a client has open.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) node: NodeId,
    /// The session's handle; 0 where nothing was opened because nothing needs to be.
    pub(super) handle: HandleId,
    pub(super) directory: bool,
    pub(super) writes: bool,
    /// A directory of whose changes all are heard.
    pub(super) known: bool,
    /// What is kept of its contents, unless they are elsewhere.
    pub(super) file: Option<Arc<File>>,
    /// A lookup was counted for the node, to be given back with the handle.
    pub(super) holds_node: bool,
}

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    open: Option<Open>,
}

/// One client's open files.
#[derive(Debug)]
pub(super) struct Handles {
    places: Vec<Place>,
    free: Vec<u32>,
    max: usize,
}

impl Handles {
    pub(super) fn new(max: usize) -> Handles {
        Handles { places: Vec::new(), free: Vec::new(), max }
    }

    /// The number for an open file; gives it back if there are too many.
    pub(super) fn insert(&mut self, open: Open) -> Result<u64, Open> {
        let index = match self.free.pop() {
            _ if self.max == 0 => return Err(open),
            Some(index) => index,
            None if self.places.len() < self.max => {
                self.places.push(Place { generation: 1, open: None });
                (self.places.len() - 1) as u32
            }
            None => return Err(open),
        };
        let place = &mut self.places[index as usize];
        place.open = Some(open);
        Ok(u64::from(place.generation) << 32 | u64::from(index))
    }

    pub(super) fn get(&self, number: u64) -> Option<&Open> {
        let place = self.places.get(number as u32 as usize)?;
        place.open.as_ref().filter(|_| u64::from(place.generation) == number >> 32)
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Open> {
        self.get(number)?;
        let place = &mut self.places[number as u32 as usize];
        place.generation = place.generation.wrapping_add(1).max(1);
        self.free.push(number as u32);
        place.open.take()
    }

    /// Takes everything out. Nothing is taken in any more.
    pub(super) fn drain(&mut self) -> Vec<Open> {
        self.max = 0;
        self.free.clear();
        self.places.drain(..).filter_map(|place| place.open).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(handle: u64) -> Open {
        let handle = HandleId(handle);
        Open {
            node: NodeId::ROOT,
            handle,
            directory: false,
            writes: false,
            known: false,
            file: None,
            holds_node: false,
        }
    }

    #[test]
    fn a_number_never_names_what_took_its_place_and_there_is_a_limit() {
        let mut handles = Handles::new(2);
        let first = handles.insert(open(1)).unwrap();
        let second = handles.insert(open(2)).unwrap();
        assert!(handles.insert(open(3)).is_err());
        assert_eq!(handles.remove(first).unwrap().handle, HandleId(1));
        let third = handles.insert(open(3)).unwrap();
        assert!(handles.get(first).is_none() && handles.remove(first).is_none());
        assert_eq!(handles.get(third).unwrap().handle, HandleId(3));
        assert!(handles.get(0).is_none() && handles.get(u64::MAX).is_none());
        assert_eq!(handles.drain().len(), 2);
        assert!(handles.get(second).is_none());
        assert!(handles.insert(open(4)).is_err(), "it has gone");
    }
}
