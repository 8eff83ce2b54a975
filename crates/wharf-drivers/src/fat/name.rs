//! Names: which FAT can have, when two are the same, and the short one that stands beside each long one.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use wharf::error::Kind;
use wharf::{Error, Name, Result};

/// A name of eight letters and an extension of three, padded with spaces.
pub(super) type Short = [u8; 11];

/// Units of UTF-16 in the longest name.
pub(super) const UNITS_MAX: usize = 255;
/// Marks in a directory entry that the base or the extension is shown in small letters.
const BASE_SMALL: u8 = 0x08;
const EXTENSION_SMALL: u8 = 0x10;
/// How often another tail is tried before the name is mixed differently.
const TAILS: u32 = 9;

/// Bytes from 0x80 on, as code page 437 has them.
const OEM: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// How a new name is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) short: Short,
    /// The marks for small letters; with a long name there are none.
    pub(super) case: u8,
    /// The long name, if the short one does not say everything.
    pub(super) long: Option<Vec<u16>>,
}

/// The letters by which names are compared: case does not matter.
pub(super) fn folded(name: &str) -> String {
    name.chars()
        .map(|letter| {
            let mut upper = letter.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(upper), None) => upper,
                _ => letter,
            }
        })
        .collect()
}

/// A name as FAT can have it.
///
/// # Errors
/// `Invalid` for what FAT forbids, `NameTooLong` for what does not fit.
pub(super) fn checked<'a>(name: Name<'a>) -> Result<&'a str> {
    let text = std::str::from_utf8(name.as_bytes()).map_err(|_| Error::invalid())?;
    fits(text)?;
    let forbidden = |letter: char| letter < ' ' || letter == '\u{7f}' || "\"*/:<>?\\|".contains(letter);
    if text.contains(forbidden) || text.ends_with(['.', ' ']) {
        return Err(Error::invalid());
    }
    Ok(text)
}

/// Fails if a name is longer than any can be.
pub(super) fn fits(name: &str) -> Result<()> {
    if name.encode_utf16().count() > UNITS_MAX { Err(Error::new(Kind::NameTooLong)) } else { Ok(()) }
}

/// Decides how a name is written beside those that are taken.
///
/// # Errors
/// `NoSpace` if no short name is free, which takes a directory that is full of look-alikes.
pub(super) fn written(name: &str, taken: &HashSet<Short>) -> Result<Written> {
    if let Some((short, case)) = as_short(name)
        && !taken.contains(&short)
    {
        return Ok(Written { short, case, long: None });
    }
    let long = Some(name.encode_utf16().collect());
    let (base, extension, lossy) = squeezed(name);
    if !lossy {
        let short = join(&base, &extension);
        if !taken.contains(&short) {
            return Ok(Written { short, case: 0, long });
        }
    }
    for tail in 1..=TAILS {
        let short = with_tail(&base, &extension, tail);
        if !taken.contains(&short) {
            return Ok(Written { short, case: 0, long });
        }
    }
    // Many names that begin alike: four digits of the whole name tell them apart.
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    for round in 0..0x4000u32 {
        let mixed = hasher.hash_one((name, round)) as u16;
        let mut base: Vec<u8> = base.iter().copied().take(2).collect();
        base.extend(format!("{mixed:04X}").bytes());
        let short = with_tail(&base, &extension, round % TAILS + 1);
        if !taken.contains(&short) {
            return Ok(Written { short, case: 0, long });
        }
    }
    Err(Error::no_space())
}

/// The short name and its marks, if it says all of the name.
fn as_short(name: &str) -> Option<(Short, u8)> {
    let (base, extension) = match name.rsplit_once('.') {
        Some((base, extension)) => (base, extension),
        None => (name, ""),
    };
    let fits = |part: &str, len: usize| part.len() <= len && part.bytes().all(is_short_letter_of_any_case);
    if base.is_empty()
        || !fits(base, 8)
        || !fits(extension, 3)
        || (extension.is_empty() && name.contains('.'))
    {
        return None;
    }
    let mut case = 0;
    for (part, mark) in [(base, BASE_SMALL), (extension, EXTENSION_SMALL)] {
        let small = part.bytes().any(|byte| byte.is_ascii_lowercase());
        if small && part.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        case |= if small { mark } else { 0 };
    }
    let upper = |part: &str| part.to_ascii_uppercase().into_bytes();
    Some((join(&upper(base), &upper(extension)), case))
}

fn is_short_letter(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'()-@^_`{}~".contains(&byte)
}

fn is_short_letter_of_any_case(byte: u8) -> bool {
    is_short_letter(byte.to_ascii_uppercase())
}

/// Base and extension made of what short names can have, and whether anything was lost.
fn squeezed(name: &str) -> (Vec<u8>, Vec<u8>, bool) {
    let trimmed = name.trim_start_matches('.');
    let (base, extension) = match trimmed.rsplit_once('.') {
        Some((base, extension)) => (base, extension),
        None => (trimmed, ""),
    };
    let mut lossy = trimmed.len() != name.len();
    let mut squeeze = |part: &str, len: usize| {
        let mut letters = Vec::new();
        for letter in part.chars() {
            match u8::try_from(letter.to_ascii_uppercase()) {
                Ok(b' ' | b'.') => lossy = true,
                Ok(byte) if is_short_letter(byte) => letters.push(byte),
                _ => {
                    lossy = true;
                    letters.push(b'_');
                }
            }
        }
        lossy |= letters.len() > len;
        letters.truncate(len);
        letters
    };
    let (mut base, extension) = (squeeze(base, 8), squeeze(extension, 3));
    if base.is_empty() {
        lossy = true;
        base.push(b'_');
    }
    (base, extension, lossy)
}

fn with_tail(base: &[u8], extension: &[u8], tail: u32) -> Short {
    let tail = format!("~{tail}");
    let mut base: Vec<u8> = base.iter().copied().take(8 - tail.len()).collect();
    base.extend(tail.bytes());
    join(&base, extension)
}

fn join(base: &[u8], extension: &[u8]) -> Short {
    let mut short = [b' '; 11];
    short[..base.len()].copy_from_slice(base);
    short[8..8 + extension.len()].copy_from_slice(extension);
    short
}

/// A short name as it is shown; `None` if it cannot be a name here.
pub(super) fn shown(short: &Short, case: u8) -> Option<String> {
    let part = |bytes: &[u8], small: bool| -> String {
        let end = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
        let letters = bytes[..end].iter().map(|byte| match byte {
            0..0x80 => char::from(*byte),
            high => OEM.chars().nth(usize::from(high - 0x80)).unwrap_or('\u{fffd}'),
        });
        letters.map(|letter| if small { letter.to_ascii_lowercase() } else { letter }).collect()
    };
    let mut base = short[..8].to_vec();
    if base[0] == 0x05 {
        // The letter of this number would mark the entry as removed.
        base[0] = 0xE5;
    }
    let mut name = part(&base, case & BASE_SMALL != 0);
    let extension = part(&short[8..], case & EXTENSION_SMALL != 0);
    if !extension.is_empty() {
        name.push('.');
        name.push_str(&extension);
    }
    is_showable(&name).then_some(name)
}

/// A long name as it is shown; `None` if it cannot be a name here.
pub(super) fn shown_long(units: &[u16]) -> Option<String> {
    String::from_utf16(units).ok().filter(|name| is_showable(name))
}

fn is_showable(name: &str) -> bool {
    Name::new(name.as_bytes()).is_some()
}

/// What long entries carry of their short name, to tell whether they belong to it.
pub(super) fn checksum(short: &Short) -> u8 {
    short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(written: &Written) -> String {
        let long = if written.long.is_some() { " + long" } else { "" };
        format!("{}|{}{long}", String::from_utf8_lossy(&written.short), written.case)
    }

    #[test]
    fn names_are_written_short_where_that_says_everything() {
        let none = HashSet::new();
        for (name, expected) in [
            ("README", "README     |0"),
            ("readme.txt", "README  TXT|24"),
            ("Makefile", "MAKEFILE   |0 + long"),
            ("MAKEFILE.am", "MAKEFILEAM |16"),
            ("a.b.c", "AB~1    C  |0 + long"),
            (".profile", "PROFIL~1   |0 + long"),
            ("long name.text", "LONGNA~1TEX|0 + long"),
            ("über", "_BER~1     |0 + long"),
            ("日本", "__~1       |0 + long"),
            ("+", "_~1        |0 + long"),
        ] {
            assert_eq!(text(&written(name, &none).unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn short_names_stay_apart() {
        let mut taken = HashSet::new();
        for number in 0..3000 {
            let written = written(&format!("a file of number {number}"), &taken).unwrap();
            assert!(taken.insert(written.short), "{number}");
        }
        assert!(taken.contains(b"AFILEO~1   ") && taken.contains(b"AFILEO~9   "));
    }

    #[test]
    fn what_fat_forbids_is_invalid() {
        let check =
            |name: &str| checked(Name::new(name.as_bytes()).unwrap()).map(drop).map_err(|error| error.kind());
        for name in ["a:b", "a*", "what?", "a\\b", "a\nb", "end.", "end ", "\"", "a|b", "<", ">"] {
            assert_eq!(check(name), Err(Kind::Invalid), "{name:?}");
        }
        assert_eq!(checked(Name::new(b"\xff").unwrap()).unwrap_err().kind(), Kind::Invalid);
        assert!(check(&"ü".repeat(255)).is_ok());
        assert_eq!(check(&"x".repeat(256)), Err(Kind::NameTooLong));
        assert_eq!(check(&"😀".repeat(128)), Err(Kind::NameTooLong));
        assert!(check(" a, b; c=d [e]").is_ok());
    }

    #[test]
    fn what_a_disc_holds_is_shown_or_refused() {
        assert_eq!(shown(b"README  TXT", 0x18).as_deref(), Some("readme.txt"));
        assert_eq!(shown(b"\x05\x81         ", 0).as_deref(), Some("σü"));
        assert_eq!(shown(b".          ", 0), None);
        assert_eq!(shown(b"           ", 0), None);
        assert_eq!(shown(b"A/B        ", 0), None);
        assert_eq!(shown_long(&[0xD800, 0x41]), None);
        assert_eq!(shown_long(&"..".encode_utf16().collect::<Vec<_>>()), None);
        assert_eq!(OEM.chars().count(), 128);
    }

    #[test]
    fn case_does_not_matter_in_any_script_that_has_it() {
        assert_eq!(folded("Straße ÄÖ λ"), folded("STRAße äö Λ"));
        assert_ne!(folded("ss"), folded("ß"));
    }

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        // "The quick brown.fox" in the specification's example.
        assert_eq!(checksum(b"THEQUI~1FOX"), 0x07);
    }
}
