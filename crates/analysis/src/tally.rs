//! What each category and each function weighs: every stack is walked once.

use rustc_hash::FxHashMap;
use temblor_profile::{LocationId, Profile};

use crate::counts::{Counts, Uncounted};
use crate::drawn::Drawn;
use crate::error::Error;
use crate::rules::{Rank, Rules};

/// A weight, and the samples that it is made of where these are known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Weight {
    pub(crate) value: i64,
    pub(crate) drawn: Drawn,
}

impl Weight {
    pub(crate) fn add(&mut self, more: Self) {
        self.value = self.value.saturating_add(more.value);
        self.drawn.add(more.drawn);
    }
}

/// What something weighs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weights {
    /// By itself: of all categories together, or of all functions, the whole.
    pub(crate) own: Weight,
    /// With all that it called.
    pub(crate) with_calls: Weight,
}

/// The place of a function in [`Tally::functions`].
pub(crate) type FunctionPlace = u32;

#[derive(Debug, Clone)]
pub(crate) struct FunctionTally {
    pub(crate) name: String,
    pub(crate) weights: Weights,
}

/// A stack, by its functions.
#[derive(Debug, Clone)]
pub(crate) struct Walked {
    /// The thread's root first, and for each the category that it counts for.
    pub(crate) path: Vec<(FunctionPlace, Option<u8>)>,
    pub(crate) weight: Weight,
    /// The category that it belongs to; none where no rule knows it.
    pub(crate) category: Option<u8>,
    /// The bits of all categories that it has frames of.
    pub(crate) has: u64,
}

/// What one of a profile's types says.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    pub(crate) kind: String,
    pub(crate) unit: String,
    pub(crate) whole: Weight,
    /// Why the samples are not counted, where they are not.
    pub(crate) uncounted: Option<Uncounted>,
    pub(crate) duration_ns: i64,
    /// What lies between two samples; 0 where that is not known.
    pub(crate) period: i64,
    /// In the order of the rules.
    pub(crate) categories: Vec<Weights>,
    /// What no rule knows.
    pub(crate) other: Weight,
    pub(crate) functions: Vec<FunctionTally>,
    pub(crate) stacks: Vec<Walked>,
}

/// A function of a location.
#[derive(Debug, Clone, Copy)]
struct Frame {
    function: FunctionPlace,
    /// The category and whether what it calls may be anybody's.
    known: Option<(u8, bool)>,
}

impl Tally {
    /// # Errors
    ///
    /// Where the profile has no such type, is empty, or is a difference.
    pub(crate) fn of(profile: &Profile, kind: Option<&str>, rules: &Rules) -> Result<Self, Error> {
        let index = profile.type_index(kind)?;
        let profile = &temblor_profile::without_uninteresting(profile)?;
        if profile.samples.iter().any(|sample| sample.values[index] < 0) {
            return Err(Error::Difference);
        }
        if profile.samples.iter().all(|sample| sample.values[index] == 0) {
            return Err(Error::Empty { remedy: profile.remedy_if_empty(index) });
        }
        let counts = Counts::of(profile, index);
        let of = &profile.types[index];
        let mut tally = Self {
            kind: of.kind.clone(),
            unit: of.unit.clone(),
            whole: Weight::default(),
            uncounted: match counts {
                Counts::Known(_) | Counts::Weighed(_) => None,
                Counts::Unknown(why) => Some(why),
            },
            duration_ns: profile.duration_ns,
            period: profile.period,
            categories: vec![Weights::default(); rules.categories().len()],
            other: Weight::default(),
            functions: Vec::new(),
            stacks: Vec::new(),
        };
        let mut naming = Naming::default();
        // When a function was last counted, so that one that calls itself counts once.
        let mut counted: Vec<usize> = Vec::new();
        for (place, sample) in profile.samples.iter().enumerate() {
            let value = sample.values[index];
            if value == 0 {
                continue;
            }
            let weight = Weight { value, drawn: counts.at(place) };
            let frames = sample
                .stack
                .iter()
                .flat_map(|id| naming.frames(profile, *id, rules, &mut tally.functions).to_vec());
            let frames: Vec<Frame> = frames.collect();
            counted.resize(tally.functions.len(), usize::MAX);
            if let Some(leaf) = frames.first() {
                tally.functions[leaf.function as usize].weights.own.add(weight);
            }
            for frame in &frames {
                let at = frame.function as usize;
                if counted[at] != place {
                    counted[at] = place;
                    tally.functions[at].weights.with_calls.add(weight);
                }
            }
            let walked = walk(&frames, weight, rules);
            tally.whole.add(weight);
            match walked.category {
                Some(at) => tally.categories[usize::from(at)].own.add(weight),
                None => tally.other.add(weight),
            }
            for (at, category) in tally.categories.iter_mut().enumerate() {
                if walked.has & (1 << at) != 0 {
                    category.with_calls.add(weight);
                }
            }
            tally.stacks.push(walked);
        }
        Ok(tally)
    }
}

/// To which category a stack belongs: of the frames that are known those of the highest rank count,
/// and of these the one nearest to the leaf.
fn walk(frames: &[Frame], weight: Weight, rules: &Rules) -> Walked {
    let mut category: Option<(Rank, u8)> = None;
    let mut has = 0;
    // Whether all that is nearer to the leaf is known.
    let mut is_known = true;
    let mut path = Vec::with_capacity(frames.len());
    for frame in frames {
        let counts = frame.known.filter(|(_, calls_back)| is_known || !calls_back);
        is_known &= frame.known.is_some();
        path.push((frame.function, counts.map(|(category, _)| category)));
        let Some((at, _)) = counts else { continue };
        has |= 1 << at;
        let rank = rules.categories()[usize::from(at)].rank;
        if category.is_none_or(|(highest, _)| rank > highest) {
            category = Some((rank, at));
        }
    }
    path.reverse();
    Walked { path, weight, category: category.map(|(_, at)| at), has }
}

/// Functions by their names, and what is known of them.
#[derive(Default)]
struct Naming {
    places: FxHashMap<String, FunctionPlace>,
    of_location: FxHashMap<LocationId, Vec<Frame>>,
}

impl Naming {
    /// A location's functions, innermost first.
    fn frames(
        &mut self,
        profile: &Profile,
        id: LocationId,
        rules: &Rules,
        functions: &mut Vec<FunctionTally>,
    ) -> &[Frame] {
        let places = &mut self.places;
        self.of_location.entry(id).or_insert_with(|| {
            let location = profile.location(id);
            let file = location.mapping.map_or("", |id| profile.mapping(id).file.as_str());
            let mut frame = |name: String| {
                let known = rules.known.find(&name, file);
                // There are at most 64 categories.
                #[expect(clippy::cast_possible_truncation, reason = "fewer than 64")]
                let known = known.map(|found| (found.category as u8, found.calls_back));
                let function = *places.entry(name).or_insert_with_key(|name| {
                    functions
                        .push(FunctionTally { name: name.clone(), weights: Weights::default() });
                    #[expect(clippy::cast_possible_truncation, reason = "a profile has fewer")]
                    let place = (functions.len() - 1) as FunctionPlace;
                    place
                });
                Frame { function, known }
            };
            if location.lines.is_empty() {
                return vec![frame(profile.name_of(location, None))];
            }
            let name = |line| profile.name_of(location, Some(line));
            location.lines.iter().map(|line| frame(name(line))).collect()
        })
    }
}
