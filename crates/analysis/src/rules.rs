//! The rules of what functions are for, as they are read from their files.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::known::Known;

/// How much a category says of what a stack is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rank {
    /// What everything stands on: it counts where nothing else is known.
    Ground,
    /// How it is done: for whom it was, a purpose further out says.
    Means,
    /// What the program wants done, or what it pays for doing it.
    Purpose,
}

/// Where time, or memory, can go.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// As a budget names it.
    pub id: String,
    /// As people read it.
    pub name: String,
    /// How much it says.
    pub rank: Rank,
    /// From which share on it is a finding.
    pub finding_from_percent: f64,
    /// What to do about it.
    pub advice: String,
}

/// Names, and what they are for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) category: String,
    /// What it calls may be anybody's: it counts only where all that is nearer to the leaf is known.
    #[serde(default)]
    pub(crate) calls_back: bool,
    #[serde(default)]
    pub(crate) is: Vec<String>,
    #[serde(default)]
    pub(crate) starts: Vec<String>,
    #[serde(default)]
    pub(crate) contains: Vec<String>,
    /// How the names of files begin whose functions are all of the category.
    #[serde(default)]
    pub(crate) files: Vec<String>,
    /// Names that are known by this rule, and by no other: the tests hold the rules against them.
    #[cfg_attr(not(test), expect(dead_code, reason = "read so that every rule has some"))]
    pub(crate) examples: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Categories {
    category: Vec<Category>,
}

/// The rules of one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Language {
    pub(crate) language: String,
    pub(crate) rule: Vec<Rule>,
}

/// Why rules are none.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// Their text is not as it should be.
    #[error("the rules cannot be read")]
    Text(#[from] toml::de::Error),
    /// A category that there is not.
    #[error("a rule for {language} is of the category {named:?}, which there is not")]
    NoCategory {
        /// The language whose rule it is.
        language: String,
        /// The category's id.
        named: String,
    },
    /// More categories than a stack can be of.
    #[error("there are more than {CATEGORIES_MAX} categories")]
    TooMany,
    /// One name is said to be of two.
    #[error("{pattern:?} is a pattern of {one} and of {other}")]
    Twice {
        /// The name, or its beginning.
        pattern: String,
        /// The one category.
        one: String,
        /// The other.
        other: String,
    },
}

/// A stack's categories are kept as the bits of a number.
pub(crate) const CATEGORIES_MAX: usize = 64;

/// The rules of what functions are for.
#[derive(Debug)]
pub struct Rules {
    categories: Vec<Category>,
    pub(crate) known: Known,
}

const CATEGORIES: &str = include_str!("rules/categories.toml");
const LANGUAGES: [&str; 6] = [
    include_str!("rules/go.toml"),
    include_str!("rules/java.toml"),
    include_str!("rules/kernel.toml"),
    include_str!("rules/native.toml"),
    include_str!("rules/rust.toml"),
    include_str!("rules/script.toml"),
];

impl Rules {
    /// Those that come with Temblor.
    #[must_use]
    pub fn built_in() -> &'static Self {
        static BUILT_IN: LazyLock<Rules> = LazyLock::new(|| {
            // A test reads them all: nobody sees this.
            Rules::read(CATEGORIES, &LANGUAGES).unwrap_or_else(|error| panic!("{error:?}"))
        });
        &BUILT_IN
    }

    /// From the text of the categories, and of each language's rules.
    ///
    /// # Errors
    ///
    /// Where they are not written as they should be, or contradict each other.
    pub fn read(categories: &str, languages: &[&str]) -> Result<Self, RulesError> {
        let Categories { category: categories } = toml::from_str(categories)?;
        if categories.len() > CATEGORIES_MAX {
            return Err(RulesError::TooMany);
        }
        let languages: Vec<Language> =
            languages.iter().map(|text| toml::from_str(text)).collect::<Result<_, _>>()?;
        let known = Known::of(&categories, &languages)?;
        Ok(Self { categories, known })
    }

    /// All categories, in the order of their file.
    #[must_use]
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// The category that a function is of by its name, and by the name of the file it lies in where
    /// that is known.
    #[must_use]
    pub fn category_of(&self, function: &str, file: &str) -> Option<&Category> {
        self.known.find(function, file).map(|found| &self.categories[found.category])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a language's rules by their own examples.
    fn wrong(rules: &Rules, text: &str) -> Vec<String> {
        let language: Language = toml::from_str(text).unwrap();
        let mut wrong = Vec::new();
        for rule in &language.rule {
            assert!(!rule.examples.is_empty(), "{}: {rule:?}", language.language);
            for example in &rule.examples {
                let told = rules.known.find(example, "");
                let category = told.map(|found| rules.categories[found.category].id.as_str());
                let calls_back = told.map(|found| found.calls_back);
                if (category, calls_back) != (Some(&rule.category), Some(rule.calls_back)) {
                    wrong.push(format!("{example}: {category:?}, not {}", rule.category));
                }
            }
        }
        wrong
    }

    #[test]
    fn every_rule_knows_its_examples() {
        for text in LANGUAGES {
            assert_eq!(wrong(Rules::built_in(), text), Vec::<String>::new());
        }
    }

    #[test]
    fn rules_that_were_swapped_are_noticed() {
        for (text, one, other) in
            [(LANGUAGES[0], "serialization", "database"), (LANGUAGES[3], "allocation", "locks")]
        {
            let quoted = |id: &str| format!("category = \"{id}\"");
            let swapped = text
                .replace(&quoted(one), "category = \"?\"")
                .replace(&quoted(other), &quoted(one))
                .replace("category = \"?\"", &quoted(other));
            let rules = Rules::read(CATEGORIES, &[swapped.as_str()]).unwrap();
            let told = wrong(&rules, text);
            assert!(told.len() >= 4, "{told:?}");
        }
    }

    #[test]
    fn every_category_has_rules_and_says_what_to_do() {
        let rules = Rules::built_in();
        for category in rules.categories() {
            assert!((20..220).contains(&category.advice.len()), "{}", category.id);
            assert!((1.0..=50.0).contains(&category.finding_from_percent), "{}", category.id);
            let quoted = format!("category = \"{}\"", category.id);
            let languages = LANGUAGES.iter().filter(|text| text.contains(&quoted)).count();
            assert!(languages > 0, "{}", category.id);
        }
    }

    #[test]
    fn rules_that_are_none_are_refused() {
        let rule = "language = \"c\"\n[[rule]]\ncategory = \"none\"\nexamples = []\n";
        let told = Rules::read(CATEGORIES, &[rule]).unwrap_err().to_string();
        assert_eq!(told, "a rule for c is of the category \"none\", which there is not");
        let twice = "language = \"c\"\n[[rule]]\ncategory = \"gc\"\nis = [\"a\"]\nexamples = []\n\
                     [[rule]]\ncategory = \"locks\"\nis = [\"a\"]\nexamples = []\n";
        let told = Rules::read(CATEGORIES, &[twice]).unwrap_err().to_string();
        assert_eq!(told, "\"a\" is a pattern of gc and of locks");
        assert!(Rules::read(CATEGORIES, &["nothing"]).is_err());
    }
}
