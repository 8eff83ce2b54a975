use std::fs;

use super::super::cache::BLOCK_BYTES;
use super::super::engine::Engine;
use super::super::meta::Version;
use super::*;

const BUDGET: u64 = 16 << 20;

/// Contents of so many whole blocks, under a tag.
fn content(path: &str, blocks: u64, tag: &str) -> Arc<Content> {
    Content::new(path.into(), Version { size: blocks * BLOCK_BYTES, modified: None, etag: Some(tag.into()) })
}

fn block(seed: u64) -> Bytes {
    let words = (0..BLOCK_BYTES / 8).map(|word| (word ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    words.flat_map(u64::to_le_bytes).collect()
}

struct Place {
    above: tempfile::TempDir,
    engine: Engine,
}

impl Place {
    fn new() -> Place {
        Place { above: tempfile::tempdir().unwrap(), engine: Engine::start().unwrap() }
    }

    fn directory(&self) -> PathBuf {
        self.above.path().join("cache")
    }

    fn open(&self) -> DiscCache {
        DiscCache::open(&self.directory(), BUDGET).unwrap()
    }

    fn read(&self, cache: &DiscCache, content: &Content, index: u32) -> Option<Bytes> {
        self.engine.block_on(cache.read(content, index))
    }

    /// The files, the oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
        let entries = fs::read_dir(self.directory()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.filter(|path| !path.ends_with("lock")).collect();
        files.sort_by_key(number);
        files
    }

    fn bytes(&self) -> u64 {
        self.files().iter().map(|file| fs::metadata(file).unwrap().len()).sum()
    }
}

/// Blocks in turn, as fast as they are written.
fn put_all(cache: &DiscCache, content: &Arc<Content>, blocks: std::ops::Range<u32>) {
    for index in blocks {
        while cache.shared.waiting_bytes.load(Ordering::Relaxed) > 0 {
            std::thread::yield_now();
        }
        cache.put(content, index, &block(index.into()));
    }
}

#[test]
fn what_was_put_is_found_by_the_next_mount_under_its_version_and_no_other() {
    let place = Place::new();
    let (cache, big) = (place.open(), content("a/big", 9, "one"));
    put_all(&cache, &big, 0..9);
    drop(cache);
    let cache = place.open();
    for index in 0..9 {
        assert!(cache.has(&big, index));
        assert!(place.read(&cache, &big, index).unwrap() == block(index.into()));
    }
    assert!(!cache.has(&content("a/big", 9, "two"), 0) && !cache.has(&content("a", 9, "one"), 0));
    assert!(!cache.has(&content("a/big", 10, "one"), 0));
    put_all(&cache, &content("a/big", 9, "two"), 3..4);
    drop(cache);
    let cache = place.open();
    assert!(cache.has(&content("a/big", 9, "two"), 3) && !cache.has(&big, 0), "one version at a time");
}

#[test]
fn the_budget_holds_and_what_is_used_stays() {
    let place = Place::new();
    let (cache, big, dear) = (place.open(), content("big", 1000, "one"), content("dear", 1, "one"));
    put_all(&cache, &dear, 0..1);
    for part in 0..50 {
        put_all(&cache, &big, part * 8..part * 8 + 8);
        // Whoever reads it brings it back to where it came from.
        let bytes = place.read(&cache, &dear, 0).expect("what is used stays");
        cache.put(&dear, 0, &bytes);
        assert!(place.bytes() <= BUDGET, "{} bytes", place.bytes());
    }
    assert!(place.bytes() > BUDGET / 4 * 3, "and is made use of: {} bytes", place.bytes());
    assert!(place.read(&cache, &big, 0).is_none());
    put_all(&cache, &dear, 0..1);
    assert!(place.read(&cache, &big, 399).unwrap() == block(399));
    drop(cache);
    let small = DiscCache::open(&place.directory(), BUDGET / 4).unwrap();
    assert!(place.bytes() <= BUDGET / 4, "a smaller budget holds at once");
    assert!(place.read(&small, &big, 399).unwrap() == block(399), "the newest stay");
}

#[test]
fn however_short_blocks_are_no_segment_has_more_than_its_share_of_them() {
    let place = Place::new();
    // Its segments have room for many more bytes.
    let cache = DiscCache::open(&place.directory(), 16 * BUDGET).unwrap();
    let name = |number: usize| format!("{number}");
    let short = |number: usize| {
        Content::new(name(number).into(), Version { size: 1, modified: None, etag: Some("one".into()) })
    };
    for number in 0..=index::SEGMENT_BLOCKS_MAX {
        cache.put(&short(number), 0, &Bytes::from_static(b"x"));
    }
    while cache.shared.waiting_bytes.load(Ordering::Relaxed) > 0 {
        std::thread::yield_now();
    }
    assert_eq!(place.files().len(), 2, "one more than a segment takes");
    assert!(cache.has(&short(0), 0) && cache.has(&short(index::SEGMENT_BLOCKS_MAX), 0));
}

#[test]
fn what_is_torn_or_foreign_is_worth_nothing() {
    let place = Place::new();
    let (cache, big) = (place.open(), content("big", 40, "one"));
    put_all(&cache, &big, 0..40);
    drop(cache);
    let files = place.files();
    assert!(files.len() > 4, "{} segments of 1 MiB", files.len());
    // In the midst of a block's bytes, in the midst of a head, and cut off.
    let change = |file: &PathBuf, at: usize| {
        let mut bytes = fs::read(file).unwrap();
        bytes[at] ^= 1;
        fs::write(file, bytes).unwrap();
    };
    change(&files[0], 70_000);
    change(&files[1], 3);
    fs::write(&files[2], &fs::read(&files[2]).unwrap()[..300_000]).unwrap();
    let foreign = ["99.blocks", "07.blocks", "18446744073709551615.blocks", "notes.txt"];
    for name in foreign {
        fs::write(place.directory().join(name), block(1)).unwrap();
    }
    let cache = place.open();
    let there: Vec<u32> = (0..40).filter(|index| cache.has(&big, *index)).collect();
    assert!(!there.contains(&7) && there.contains(&0) && there.contains(&39), "{there:?}");
    assert!(place.read(&cache, &big, 0).is_none(), "its bytes are not those that were written");
    assert!(!cache.has(&big, 0), "and it is not asked for again");
    for index in there.into_iter().skip(1) {
        assert!(place.read(&cache, &big, index).unwrap() == block(index.into()), "block {index}");
    }
    for name in foreign {
        assert!(!place.directory().join(name).exists(), "{name}");
    }
    put_all(&cache, &big, 0..8);
    drop(cache);
    let cache = place.open();
    assert!((0..8).all(|index| place.read(&cache, &big, index).unwrap() == block(index.into())));
}

#[test]
fn what_is_changed_here_is_not_found_now_and_not_by_the_next_mount() {
    let place = Place::new();
    let cache = place.open();
    let all = ["a/x", "a/y", "ab", "b"].map(|path| content(path, 1, "one"));
    for content in &all {
        put_all(&cache, content, 0..1);
    }
    while cache.shared.waiting_bytes.load(Ordering::Relaxed) > 0 {
        std::thread::yield_now();
    }
    all[3].end();
    cache.forget("b", false);
    cache.forget("a", true);
    let found = |cache: &DiscCache| all.each_ref().map(|content| cache.has(content, 0));
    assert_eq!(found(&cache), [false, false, true, false]);
    cache.put(&all[3], 0, &block(0));
    drop(cache);
    assert_eq!(found(&place.open()), [false, false, true, false]);
}

#[test]
fn a_disc_that_fails_costs_nothing_but_the_cache() {
    let place = Place::new();
    let (cache, big) = (place.open(), content("big", 40, "one"));
    put_all(&cache, &big, 0..4);
    // No segment can be made, as on a disc that has gone.
    fs::remove_dir_all(place.directory()).unwrap();
    put_all(&cache, &big, 4..40);
    while !cache.shared.off.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
    assert!(!cache.has(&big, 0) && place.read(&cache, &big, 0).is_none());
}

#[test]
fn a_directory_is_of_one_mount_and_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let cache = place.open();
    let refused = DiscCache::open(&place.directory(), BUDGET).unwrap_err();
    assert!(refused.to_string().contains("another mount"), "{refused}");
    drop(cache);
    fs::set_permissions(place.directory(), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = DiscCache::open(&place.directory(), BUDGET).unwrap_err();
    assert!(refused.to_string().contains("open to others"), "{refused}");
}
