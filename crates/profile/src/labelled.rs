//! What is known of samples besides their stacks, made a part of the stacks.

use crate::profile::{Function, FunctionId, LabelValue, Line, Location, LocationId, Profile};

/// The profile with a frame at the root of each stack that says the text of this label: what belongs
/// together stands together in a picture. Stacks without it are as they were.
#[must_use]
pub fn rooted_in(profile: &Profile, label: &str) -> Profile {
    let mut rooted = profile.clone();
    let mut roots: Vec<(String, LocationId)> = Vec::new();
    let Profile { samples, locations, functions, .. } = &mut rooted;
    for sample in samples {
        let text = sample.labels.iter().find_map(|one| match &one.value {
            LabelValue::Text(text) if one.key == label => Some(text),
            _ => None,
        });
        let Some(text) = text else { continue };
        let known = roots.iter().find(|(root, _)| root == text).map(|(_, id)| *id);
        let root = known.unwrap_or_else(|| {
            let function = Some(FunctionId(functions.len() as u32));
            functions.push(Function {
                name: text.clone(),
                system_name: text.clone(),
                ..Function::default()
            });
            let id = LocationId(locations.len() as u32);
            let lines = vec![Line { function, line: 0, column: 0 }];
            locations.push(Location { lines, ..Location::default() });
            roots.push((text.clone(), id));
            id
        });
        sample.stack.push(root);
    }
    rooted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Label;
    use crate::{Builder, ValueType, folded};

    #[test]
    fn each_stack_stands_on_what_its_label_says() {
        let mut builder = Builder::new(vec![ValueType::new("samples", "count")]);
        let (main, work) = (builder.named("main"), builder.named("work"));
        let of = |service: &str| {
            vec![Label { key: "service".into(), value: LabelValue::Text(service.into()) }]
        };
        builder.sample(vec![work, main], &[3], of("api"));
        builder.sample(vec![work, main], &[2], of("db"));
        builder.sample(vec![main], &[4], of("api"));
        builder.sample(vec![main], &[1], Vec::new());
        let rooted = rooted_in(&builder.finish(), "service");
        let folded = folded::write(&rooted, None).unwrap();
        let mut lines: Vec<&str> = folded.lines().collect();
        lines.sort();
        assert_eq!(lines, ["api;main 4", "api;main;work 3", "db;main;work 2", "main 1"]);
    }
}
