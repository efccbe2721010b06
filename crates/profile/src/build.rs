//! A profile as it is put together: what is the same is there once.

use std::hash::Hash;

use rustc_hash::FxHashMap;

use crate::profile::{
    Function, FunctionId, Label, Line, Location, LocationId, Mapping, MappingId, Profile, Sample,
    ValueType,
};

/// A table in which everything is once.
#[derive(Debug)]
struct Unique<Of> {
    places: FxHashMap<Of, u32>,
}

impl<Of> Default for Unique<Of> {
    fn default() -> Self {
        Self { places: FxHashMap::default() }
    }
}

impl<Of: Hash + Eq + Clone> Unique<Of> {
    fn place(&mut self, one: Of, all: &mut Vec<Of>) -> u32 {
        if let Some(place) = self.places.get(&one) {
            return *place;
        }
        let place = all.len() as u32;
        all.push(one.clone());
        self.places.insert(one, place);
        place
    }
}

/// Puts a profile together. Stacks with the same labels are added up.
#[derive(Debug, Default)]
pub struct Builder {
    profile: Profile,
    mappings: Unique<Mapping>,
    functions: Unique<Function>,
    locations: Unique<Location>,
    samples: FxHashMap<(Vec<LocationId>, Vec<Label>), usize>,
}

impl Builder {
    /// Of a profile that counts this.
    #[must_use]
    pub fn new(types: Vec<ValueType>) -> Self {
        Self { profile: Profile { types, ..Profile::default() }, ..Self::default() }
    }

    /// This mapping's place. Whichever comes first is taken for the program's own.
    pub fn mapping(&mut self, mapping: Mapping) -> MappingId {
        MappingId(self.mappings.place(mapping, &mut self.profile.mappings))
    }

    /// This function's place.
    pub fn function(&mut self, function: Function) -> FunctionId {
        FunctionId(self.functions.place(function, &mut self.profile.functions))
    }

    /// This location's place.
    pub fn location(&mut self, location: Location) -> LocationId {
        LocationId(self.locations.place(location, &mut self.profile.locations))
    }

    /// The place of a location of which only a name is known.
    pub fn named(&mut self, name: &str) -> LocationId {
        let function =
            Function { name: name.to_owned(), system_name: name.to_owned(), ..Function::default() };
        let function = Some(self.function(function));
        let lines = vec![Line { function, line: 0, column: 0 }];
        self.location(Location { lines, ..Location::default() })
    }

    /// Adds what a stack weighs, leaf first. There must be a value for each type.
    pub fn sample(&mut self, stack: Vec<LocationId>, values: &[i64], labels: Vec<Label>) {
        debug_assert_eq!(values.len(), self.profile.types.len(), "a value for each type");
        let samples = &mut self.profile.samples;
        match self.samples.entry((stack, labels)) {
            std::collections::hash_map::Entry::Occupied(at) => {
                for (sum, value) in samples[*at.get()].values.iter_mut().zip(values) {
                    *sum = sum.saturating_add(*value);
                }
            }
            std::collections::hash_map::Entry::Vacant(at) => {
                let (stack, labels) = at.key().clone();
                samples.push(Sample { stack, values: values.to_vec(), labels });
                at.insert(samples.len() - 1);
            }
        }
    }

    /// What is known of the whole besides its samples may be written here.
    pub fn about(&mut self) -> &mut Profile {
        &mut self.profile
    }

    /// The profile. Stacks that add up to nothing are left out.
    #[must_use]
    pub fn finish(mut self) -> Profile {
        self.profile.samples.retain(|sample| sample.values.iter().any(|value| *value != 0));
        self.profile
    }
}
