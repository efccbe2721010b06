use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::dir::sync_dir;
use crate::{COMPRESS_BYTES_MIN, EVENTS_FILE, EVENTS_FILE_COMPRESSED, RunDir, RunError};

/// zstd's own default: about a tenth of the size at disk speed.
const LEVEL: i32 = 3;

/// Replaces a long event log by its compressed form. The plain one is removed last, once the
/// other has been read back: a crash at any point leaves at least one that is whole.
pub(crate) fn compress_if_long(dir: &RunDir) -> Result<(), RunError> {
    let plain = dir.path().join(EVENTS_FILE);
    let bytes = fs::metadata(&plain).map_err(|e| RunError::io("read", &plain, e))?.len();
    if bytes <= COMPRESS_BYTES_MIN {
        return Ok(());
    }
    let compressed = dir.path().join(EVENTS_FILE_COMPRESSED);
    let draft = dir.path().join(format!("{EVENTS_FILE_COMPRESSED}.tmp"));
    let done = compress(&plain, &draft).and_then(|()| verify(&plain, &draft)).and_then(|()| {
        fs::rename(&draft, &compressed).map_err(|e| RunError::io("write", &compressed, e))
    });
    if done.is_err() {
        // The log stays as it was; a draft that cannot be removed harms nobody.
        let _ = fs::remove_file(&draft);
        return done;
    }
    sync_dir(dir.path())?;
    fs::remove_file(&plain).map_err(|e| RunError::io("remove", &plain, e))?;
    sync_dir(dir.path())
}

fn compress(plain: &Path, draft: &Path) -> Result<(), RunError> {
    let write = || -> io::Result<()> {
        let mut from = BufReader::new(File::open(plain)?);
        let mut encoder = zstd::Encoder::new(File::create(draft)?, LEVEL)?;
        encoder.include_checksum(true)?;
        io::copy(&mut from, &mut encoder)?;
        encoder.finish()?.sync_all()
    };
    write().map_err(|e| RunError::io("write", draft, e))
}

fn verify(plain: &Path, draft: &Path) -> Result<(), RunError> {
    let compare = || -> io::Result<bool> {
        let original = File::open(plain)?;
        let read_back = zstd::Decoder::new(File::open(draft)?)?;
        same_bytes(original, read_back)
    };
    match compare().map_err(|e| RunError::io("read back", draft, e))? {
        true => Ok(()),
        false => Err(RunError::CompressedDiffers(draft.to_owned())),
    }
}

fn same_bytes(mut a: impl Read, mut b: impl Read) -> io::Result<bool> {
    let (mut buffer_a, mut buffer_b) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let (n_a, n_b) = (fill(&mut a, &mut buffer_a)?, fill(&mut b, &mut buffer_b)?);
        if buffer_a[..n_a] != buffer_b[..n_b] {
            return Ok(false);
        }
        if n_a == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the end is reached.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_of_one_byte_or_of_length_is_seen() {
        let long = vec![7_u8; 200_000];
        let mut other = long.clone();
        other[150_000] = 8;
        for (a, b, same) in [
            (&long[..], &long[..], true),
            (&long[..], &other[..], false),
            (&long[..], &long[..199_999], false),
            (&long[..131_072], &long[..], false),
            (&[], &[], true),
            (&[], &long[..1], false),
        ] {
            assert_eq!(same_bytes(a, b).unwrap(), same, "{} {}", a.len(), b.len());
        }
    }
}
