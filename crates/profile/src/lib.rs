//! Profiles: read, merged, compared and shown.
//!
//! Bytes come in, bytes go out: nothing here opens a file, asks for the time or knows where a stack
//! came from. What is collected, and what others have written, becomes a [`Profile`]; every picture
//! and every table is made from one.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "places in tables of less than 2^32 entries, and figures that are rounded when shown"
)]

mod any;
mod build;
mod calls;
mod chart;
mod columns;
mod combine;
mod error;
pub mod firefox;
pub mod folded;
mod graph;
mod heat;
mod labelled;
mod measure;
mod perf_script;
mod picture;
pub mod pprof;
mod profile;
mod prune;
pub mod speedscope;
mod svg;
mod top;
mod tree;

pub use self::any::{Format, read};
pub use self::build::Builder;
pub use self::calls::{CallTree, Comparison, Window};
pub use self::columns::{Columns, Times};
pub use self::combine::{difference, merge};
pub use self::error::Error;
pub use self::heat::Heat;
pub use self::labelled::rooted_in;
pub use self::measure::{label, percentage};
pub use self::picture::{PictureOptions, picture};
pub use self::profile::{
    Function, FunctionId, Known, Label, LabelValue, Line, Location, LocationId, Mapping, MappingId,
    Profile, Sample, ValueType,
};
pub use self::prune::without_uninteresting;
pub use self::svg::{Shape, SvgOptions, chart_svg, svg};
pub use self::top::{TopOptions, top};
pub use self::tree::Tree;
