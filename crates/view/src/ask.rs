//! What the page asks for, as its addresses say it.

use temblor_profile::Window;

/// Something of a profile. All are places: of a profile among those that were given, of a type among
/// its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    /// Which profiles there are.
    Profiles,
    /// A profile's calls, in a window or as a whole.
    Tree { profile: usize, kind: usize, window: Option<Window> },
    /// The same beside those of another profile.
    Comparison { base: usize, profile: usize, kind: usize },
    /// When how much of it was.
    Heat { profile: usize, kind: usize },
    /// The calls in the order of time.
    Chart { profile: usize, kind: usize, window: Option<Window> },
}

/// What is wrong with an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// There is nothing of this name.
    Path,
    /// It says too little, too much, or what is no number.
    Query(&'static str),
}

/// What a path and its query ask for.
pub(crate) fn ask(path: &str, query: &str) -> Result<Ask, Wrong> {
    let query = Query::of(query)?;
    match path {
        "/data/profiles" => query.only(&[]).map(|()| Ask::Profiles),
        "/data/tree" => {
            let (profile, kind) = (query.place("profile")?, query.place("type")?);
            if query.get("base").is_some() {
                query.only(&["profile", "type", "base"])?;
                return Ok(Ask::Comparison { base: query.place("base")?, profile, kind });
            }
            query.only(&["profile", "type", "from", "to"])?;
            Ok(Ask::Tree { profile, kind, window: query.window()? })
        }
        "/data/chart" => {
            query.only(&["profile", "type", "from", "to"])?;
            let (profile, kind) = (query.place("profile")?, query.place("type")?);
            Ok(Ask::Chart { profile, kind, window: query.window()? })
        }
        "/data/heat" => {
            query.only(&["profile", "type"])?;
            Ok(Ask::Heat { profile: query.place("profile")?, kind: query.place("type")? })
        }
        _ => Err(Wrong::Path),
    }
}

/// More pairs than any address has.
const PAIRS_MAX: usize = 8;

/// Keys with what they are set to. No value has a character that would have to be escaped.
struct Query<'of> {
    pairs: Vec<(&'of str, &'of str)>,
}

impl<'of> Query<'of> {
    fn of(text: &'of str) -> Result<Self, Wrong> {
        let parts = text.split('&').filter(|part| !part.is_empty());
        let pairs: Vec<_> =
            parts.take(PAIRS_MAX + 1).filter_map(|part| part.split_once('=')).collect();
        let is_told_twice = |at: usize| pairs[..at].iter().any(|pair| pair.0 == pairs[at].0);
        if pairs.len() > PAIRS_MAX || (0..pairs.len()).any(is_told_twice) {
            return Err(Wrong::Query("too much is said"));
        }
        Ok(Self { pairs })
    }

    fn get(&self, key: &str) -> Option<&'of str> {
        self.pairs.iter().find(|pair| pair.0 == key).map(|pair| pair.1)
    }

    fn only(&self, known: &[&str]) -> Result<(), Wrong> {
        let is_known = |pair: &(&str, &str)| known.contains(&pair.0);
        if self.pairs.iter().all(is_known) { Ok(()) } else { Err(Wrong::Query("what is this")) }
    }

    fn place(&self, key: &str) -> Result<usize, Wrong> {
        let value = self.get(key).ok_or(Wrong::Query("something is not said"))?;
        value.parse().map_err(|_| Wrong::Query("this is no place"))
    }

    fn window(&self) -> Result<Option<Window>, Wrong> {
        let time = |text: &str| text.parse::<i64>().map_err(|_| Wrong::Query("this is no time"));
        match (self.get("from"), self.get("to")) {
            (None, None) => Ok(None),
            (Some(from), Some(to)) => Ok(Some(Window { from_ns: time(from)?, to_ns: time(to)? })),
            _ => Err(Wrong::Query("a window has a beginning and an end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_what_is_asked_for() {
        let window = Some(Window { from_ns: -5, to_ns: 7 });
        for (path, query, expected) in [
            ("/data/profiles", "", Ok(Ask::Profiles)),
            ("/data/tree", "profile=1&type=2", Ok(Ask::Tree { profile: 1, kind: 2, window: None })),
            (
                "/data/tree",
                "profile=1&type=2&from=-5&to=7",
                Ok(Ask::Tree { profile: 1, kind: 2, window }),
            ),
            (
                "/data/tree",
                "profile=1&type=2&base=0",
                Ok(Ask::Comparison { base: 0, profile: 1, kind: 2 }),
            ),
            ("/data/heat", "profile=0&type=0", Ok(Ask::Heat { profile: 0, kind: 0 })),
            ("/data/other", "", Err(Wrong::Path)),
            ("/data/tree/", "profile=0&type=0", Err(Wrong::Path)),
            ("/data/tree", "profile=0", Err(Wrong::Query("something is not said"))),
            ("/data/tree", "profile=-1&type=0", Err(Wrong::Query("this is no place"))),
            ("/data/tree", "profile=0x1&type=0", Err(Wrong::Query("this is no place"))),
            (
                "/data/tree",
                "profile=99999999999999999999999&type=0",
                Err(Wrong::Query("this is no place")),
            ),
            (
                "/data/tree",
                "profile=0&type=0&from=1",
                Err(Wrong::Query("a window has a beginning and an end")),
            ),
            ("/data/tree", "profile=0&type=0&from=a&to=b", Err(Wrong::Query("this is no time"))),
            ("/data/tree", "profile=0&type=0&profile=1", Err(Wrong::Query("too much is said"))),
            ("/data/heat", "profile=0&type=0&more=1", Err(Wrong::Query("what is this"))),
        ] {
            assert_eq!(ask(path, query), expected, "{path}?{query}");
        }
        assert_eq!(ask("/data/tree", &"a=b&".repeat(999)), Err(Wrong::Query("too much is said")));
    }
}
