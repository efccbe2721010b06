//! The page: files that are part of the program.

/// A file with its path and what kind it is.
pub(crate) struct File {
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const ICON: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal $file:literal $content_type:ident),* $(,)?) => {
        &[$(File {
            path: $path,
            content_type: $content_type,
            bytes: include_bytes!(concat!("../page/", $file)),
        }),*]
    };
}

/// All that the page is made of.
pub(crate) const FILES: &[File] = files![
    "/" "index.html" HTML,
    "/page/style.css" "style.css" CSS,
    "/page/icon.svg" "icon.svg" ICON,
    "/page/main.js" "main.js" SCRIPT,
    "/page/state.js" "state.js" SCRIPT,
    "/page/data.js" "data.js" SCRIPT,
    "/page/tree.js" "tree.js" SCRIPT,
    "/page/format.js" "format.js" SCRIPT,
    "/page/colour.js" "colour.js" SCRIPT,
    "/page/flame.js" "flame.js" SCRIPT,
    "/page/details.js" "details.js" SCRIPT,
    "/page/table.js" "table.js" SCRIPT,
    "/page/calls.js" "calls.js" SCRIPT,
    "/page/heat.js" "heat.js" SCRIPT,
];
