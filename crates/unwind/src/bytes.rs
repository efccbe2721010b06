//! Sections that are compressed in the file.

use std::io::Read;

use object::elf::{ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD};

/// A section, compressed or not, larger than this is not read: nobody's is, and a few kilobytes
/// can say that they are gigabytes.
const SECTION_BYTES_MAX: u64 = 1 << 28;

/// There is a section, and what it says cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// The bytes that were compressed, if they are as many as the file says.
pub(crate) fn decompress(format: u32, data: &[u8], size: u64) -> Result<Vec<u8>, Unreadable> {
    if size > SECTION_BYTES_MAX {
        return Err(Unreadable);
    }
    match format {
        ELFCOMPRESS_ZLIB => read_exactly(flate2::read::ZlibDecoder::new(data), size),
        ELFCOMPRESS_ZSTD => {
            let decoder = zstd::stream::read::Decoder::new(data).map_err(|_| Unreadable)?;
            read_exactly(decoder, size)
        }
        _ => Err(Unreadable),
    }
}

/// As GNU's tools did it before ELF had a word for it: `ZLIB`, the size, the data.
pub(crate) fn decompress_gnu(section: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let rest = section.strip_prefix(b"ZLIB").ok_or(Unreadable)?;
    let (size, data) = rest.split_first_chunk().ok_or(Unreadable)?;
    decompress(ELFCOMPRESS_ZLIB, data, u64::from_be_bytes(*size))
}

/// Reads one byte more than it wants, to see whether there is one.
fn read_exactly(decoder: impl Read, size: u64) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    let read = decoder.take(size + 1).read_to_end(&mut bytes).map_err(|_| Unreadable)?;
    if read as u64 == size { Ok(bytes) } else { Err(Unreadable) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const PLAIN: &[u8] = b"call frame information, call frame information, call frame information";

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Default::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn each_way_of_compressing_is_undone() {
        let size = PLAIN.len() as u64;
        assert_eq!(decompress(ELFCOMPRESS_ZLIB, &zlib(PLAIN), size).unwrap(), PLAIN);
        let zstd = zstd::stream::encode_all(PLAIN, 3).unwrap();
        assert_eq!(decompress(ELFCOMPRESS_ZSTD, &zstd, size).unwrap(), PLAIN);
        let gnu = [b"ZLIB", &size.to_be_bytes()[..], &zlib(PLAIN)].concat();
        assert_eq!(decompress_gnu(&gnu).unwrap(), PLAIN);
    }

    #[test]
    fn a_size_that_is_not_true_is_refused_and_nothing_larger_is_made() {
        let zeros = vec![0; 1 << 20];
        let bomb = zlib(&zeros);
        let zstd_bomb = zstd::stream::encode_all(&zeros[..], 3).unwrap();
        for (format, data) in [(ELFCOMPRESS_ZLIB, &bomb), (ELFCOMPRESS_ZSTD, &zstd_bomb)] {
            for size in [0, 100, (1 << 20) - 1, (1 << 20) + 1, SECTION_BYTES_MAX + 1, u64::MAX] {
                assert_eq!(decompress(format, data, size), Err(Unreadable), "{size}");
            }
        }
        assert_eq!(decompress(77, &bomb, 1 << 20), Err(Unreadable), "an unknown way");
        assert_eq!(decompress_gnu(b"ZLIB1234"), Err(Unreadable));
        assert_eq!(decompress_gnu(b""), Err(Unreadable));
    }
}
