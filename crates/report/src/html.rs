//! One HTML file that needs nothing else: no script, no request, no font.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, context};

use crate::document::Document;
use crate::plot::Figure;

/// The document and its plots. Everything that comes from a run is escaped by the template; the
/// plots' texts are escaped by their backend.
pub(crate) fn render(document: &Document, figures: &[Figure]) -> Result<String, Error> {
    let mut templates = Environment::new();
    templates.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    templates.add_template("report.html", include_str!("../templates/report.html"))?;
    templates.add_template("report.css", include_str!("../templates/report.css"))?;
    let (document, figures) = (Value::from(Serde(document)), Value::from(Serde(figures)));
    templates.get_template("report.html")?.render(context! { document, figures })
}
