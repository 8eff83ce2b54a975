//! Numbers of bytes as people write them: `512M`, `1G`, `4096`. K, M, G and T count by 1024.

const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

/// Reads a number of bytes.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let refused = || format!("`{text}` is no number of bytes; write it as in 4096, 512M or 1G");
    let trimmed = text.strip_suffix("iB").unwrap_or(text);
    let unit = UNITS.iter().find(|(letter, _)| trimmed.ends_with([*letter, letter.to_ascii_lowercase()]));
    let (digits, shift) = match unit {
        Some((_, shift)) => (&trimmed[..trimmed.len() - 1], *shift),
        // `1iB` is no more a number than `1B` is.
        None => (text, 0),
    };
    let number = count(digits).map_err(|_| refused())?;
    number.checked_mul(1 << shift).ok_or_else(refused)
}

/// Reads a plain number.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    // `parse` would take a plus sign.
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = plain.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| format!("`{text}` is no number; write it in digits, as in 1000"))
}

/// Writes a number of bytes so that [`bytes`] reads the same number.
pub(crate) fn show(bytes: u64) -> String {
    let unit = UNITS.iter().rev().find(|(_, shift)| bytes != 0 && bytes.is_multiple_of(1 << shift));
    match unit {
        Some((letter, shift)) => format!("{}{letter}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// About how many bytes, in a few letters: `1.5 GiB`.
pub(crate) fn rounded(bytes: u64) -> String {
    match UNITS.iter().rev().find(|(_, shift)| bytes >> shift != 0) {
        Some((letter, shift)) => format!("{:.1} {letter}iB", bytes as f64 / (1u64 << shift) as f64),
        None => format!("{bytes} bytes"),
    }
}

/// How many bytes, for a reader: about, and exactly.
pub(crate) fn told(bytes: u64) -> String {
    if bytes < 1024 { rounded(bytes) } else { format!("{} ({bytes} bytes)", rounded(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_is_told_is_short_and_exact() {
        for (size, words) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1536, "1.5 KiB (1536 bytes)"),
            (3 << 40, "3.0 TiB (3298534883328 bytes)"),
        ] {
            assert_eq!(told(size), words);
        }
    }

    #[test]
    fn a_size_is_digits_and_perhaps_a_unit_of_1024() {
        for (text, size) in [
            ("0", 0),
            ("4096", 4096),
            ("4k", 4096),
            ("4K", 4096),
            ("4KiB", 4096),
            ("512M", 512 << 20),
            ("1G", 1 << 30),
            ("2T", 2 << 40),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example() {
        for text in
            ["", "G", "-1", "+1", "1.5G", "1GB", "1iB", "1 G", "1X", "99999999T", "18446744073709551616"]
        {
            let error = bytes(text).expect_err(text);
            assert!(error.contains(&format!("`{text}`")) && error.contains("512M"), "{error}");
        }
    }

    #[test]
    fn a_size_that_is_shown_reads_as_itself() {
        for size in [0, 1, 1023, 1024, 1025, 1 << 20, 3 << 30, u64::MAX] {
            assert_eq!(bytes(&show(size)), Ok(size));
        }
        assert_eq!(show(1 << 30), "1G");
    }
}
