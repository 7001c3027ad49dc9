//! subunit's numbers: the two high bits of the first byte say how many bytes follow.
//!
//! Used for lengths and counts by [`super::packet`], [`super::scan`] and [`super::forward`]; knows no packet.

/// The number at the start of `bytes`, and how many bytes it takes; nothing when `bytes` ends within it.
pub(super) fn read(bytes: &[u8]) -> Option<(u32, usize)> {
    let first = *bytes.first()?;
    let size = usize::from(first >> 6) + 1;
    let rest = bytes.get(1..size)?;
    let value = rest.iter().fold(u32::from(first & 0x3F), |value, byte| value << 8 | u32::from(*byte));
    Some((value, size))
}

/// How many bytes `value` takes when written as short as can be.
pub(super) fn size(value: usize) -> usize {
    match value {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x40_0000 => 3,
        _ => 4,
    }
}

/// Write `value`, which must be less than 2^30, as short as can be.
pub(super) fn put(out: &mut Vec<u8>, value: usize) {
    put_sized(out, value, size(value));
}

/// Write `value` in `size` bytes, which must be enough for it.
pub(super) fn put_sized(out: &mut Vec<u8>, value: usize, size: usize) {
    debug_assert!(value < 1 << (8 * size - 2), "{value} does not fit {size} bytes");
    let marked = (value as u32) | ((size as u32 - 1) << (8 * size - 2));
    out.extend_from_slice(&marked.to_be_bytes()[4 - size..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_they_were_written() {
        for value in [0, 1, 0x3F, 0x40, 0x3FFF, 0x4000, 0x3F_FFFF, 0x40_0000, 0x3FFF_FFFF] {
            let mut out = Vec::new();
            put(&mut out, value);
            assert_eq!(out.len(), size(value));
            assert_eq!(read(&out), Some((value as u32, out.len())), "{value:#x} is written as {out:x?}");
            assert_eq!(read(&out[..out.len() - 1]), None, "{value:#x} cut off");
        }
    }
}
