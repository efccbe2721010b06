//! Answers that were given lately, so that going back and forth between views makes none anew.

use hyper::body::Bytes;

use crate::ask::Ask;

/// Of all answers that are kept. One that is larger by itself is kept alone.
const BYTES_MAX: usize = 256 << 20;
/// Small ones take room by their number.
const ANSWERS_MAX: usize = 256;

/// The last used one at the end.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    answers: Vec<(Ask, Bytes)>,
}

impl Recent {
    pub(crate) fn get(&mut self, ask: &Ask) -> Option<Bytes> {
        let at = self.answers.iter().position(|(asked, _)| asked == ask)?;
        let answer = self.answers.remove(at);
        let bytes = answer.1.clone();
        self.answers.push(answer);
        Some(bytes)
    }

    pub(crate) fn keep(&mut self, ask: Ask, bytes: Bytes) {
        self.answers.push((ask, bytes));
        let mut sum: usize = self.answers.iter().map(|(_, bytes)| bytes.len()).sum();
        while self.answers.len() > 1 && (sum > BYTES_MAX || self.answers.len() > ANSWERS_MAX) {
            sum -= self.answers.remove(0).1.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heat(profile: usize) -> Ask {
        Ask::Heat { profile, kind: 0 }
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut recent = Recent::default();
        for profile in 0..ANSWERS_MAX {
            recent.keep(heat(profile), Bytes::from_static(b"x"));
        }
        assert!(recent.get(&heat(0)).is_some());
        recent.keep(heat(ANSWERS_MAX), Bytes::from_static(b"x"));
        assert!(recent.get(&heat(0)).is_some(), "it was used just now");
        assert!(recent.get(&heat(1)).is_none());
        assert_eq!(recent.answers.len(), ANSWERS_MAX);
    }

    #[test]
    fn what_is_large_pushes_the_others_out() {
        let mut recent = Recent::default();
        recent.keep(heat(0), Bytes::from_static(b"x"));
        recent.keep(heat(1), Bytes::from(vec![0; BYTES_MAX + 1]));
        assert!(recent.get(&heat(0)).is_none());
        assert!(recent.get(&heat(1)).is_some());
    }
}
