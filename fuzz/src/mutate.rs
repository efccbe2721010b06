//! Wrong bytes made of right ones.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Numbers at which arithmetic goes wrong.
const NUMBERS: [u64; 14] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

/// Texts at which parsers go wrong.
const TEXTS: [&str; 16] = [
    "-1",
    "0",
    "18446744073709551615",
    "9223372036854775808",
    "1e999",
    "NaN",
    "null",
    "\"",
    "\n",
    "\0",
    "{}",
    "[",
    "ä",
    "\u{1f4a5}",
    "\t",
    "%",
];

/// How many changes one input has at most.
const CHANGES_MAX: u32 = 5;
/// Inputs do not grow beyond this.
const BYTES_MAX: usize = 1 << 16;

/// Mutations of seeds, without an end: the same seeds and the same number give the same ones.
#[derive(Debug)]
pub struct Mutations<'of> {
    seeds: &'of [Vec<u8>],
    random: StdRng,
}

impl<'of> Mutations<'of> {
    /// Of these seeds.
    #[must_use]
    pub fn of(seeds: &'of [Vec<u8>], number: u64) -> Self {
        Self { seeds, random: StdRng::seed_from_u64(number) }
    }

    /// A place in so many bytes, the one behind the last included.
    fn place(&mut self, bytes: &[u8]) -> usize {
        self.random.random_range(0..=bytes.len())
    }

    /// A part of some bytes, most often a short one.
    fn part(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.place(bytes);
        let length_max = if self.random.random_bool(0.8) { 16 } else { bytes.len() };
        let length = self.random.random_range(0..=length_max);
        start..bytes.len().min(start + length)
    }

    fn seed(&mut self) -> &'of [u8] {
        match self.seeds.len() {
            0 => &[],
            seeds => &self.seeds[self.random.random_range(0..seeds)],
        }
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        match self.random.random_range(0..10_u8) {
            0 if !bytes.is_empty() => {
                let at = self.random.random_range(0..bytes.len());
                bytes[at] ^= 1 << self.random.random_range(0..8_u8);
            }
            1 if !bytes.is_empty() => {
                let at = self.random.random_range(0..bytes.len());
                bytes[at] = self.random.random();
            }
            2 => bytes.truncate(self.place(bytes)),
            3 => {
                let part = self.part(bytes);
                bytes.drain(part);
            }
            4 => {
                let (part, at) = (self.part(bytes), self.place(bytes));
                let copied = bytes[part].to_vec();
                bytes.splice(at..at, copied);
            }
            5 => {
                let other = self.seed();
                let (part, at) = (self.part(other), self.part(bytes));
                bytes.splice(at, other[part].iter().copied());
            }
            // The end of another behind the beginning of this one.
            6 => {
                let other = self.seed();
                bytes.truncate(self.place(bytes));
                bytes.extend_from_slice(&other[self.place(other)..]);
            }
            7 => self.put_number(bytes),
            8 => {
                let at = self.part(bytes);
                let text = TEXTS[self.random.random_range(0..TEXTS.len())];
                bytes.splice(at, text.bytes());
            }
            _ => self.change_number_in_text(bytes),
        }
    }

    /// An extreme number over what is there, in as many bytes as numbers have.
    fn put_number(&mut self, bytes: &mut [u8]) {
        let number = NUMBERS[self.random.random_range(0..NUMBERS.len())];
        let width = [1, 2, 4, 8][self.random.random_range(0..4)];
        let mut written = number.to_le_bytes();
        if self.random.random_bool(0.2) {
            written[..width].reverse();
        }
        if let Some(last) = bytes.len().checked_sub(width) {
            let at = self.random.random_range(0..=last);
            bytes[at..at + width].copy_from_slice(&written[..width]);
        }
    }

    /// An extreme number instead of one that is written in digits.
    fn change_number_in_text(&mut self, bytes: &mut Vec<u8>) {
        let from = self.place(bytes);
        let Some(start) = bytes[from..].iter().position(u8::is_ascii_digit) else { return };
        let start = from + start;
        let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = NUMBERS[self.random.random_range(0..NUMBERS.len())];
        bytes.splice(start..start + digits, number.to_string().bytes());
    }
}

impl Iterator for Mutations<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = self.seed().to_vec();
        for _ in 0..self.random.random_range(1..=CHANGES_MAX) {
            self.change(&mut bytes);
        }
        bytes.truncate(BYTES_MAX);
        Some(bytes)
    }
}
