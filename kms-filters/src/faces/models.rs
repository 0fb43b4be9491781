//! The models that an operator may give in place of what OpenCV brings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::embedding::Embedding;
use super::yunet::Yunet;

/// Files of models, ONNX.
#[derive(Debug, Clone, Default)]
pub struct ModelPaths {
    /// What finds faces: a YuNet model. `None`: OpenCV's cascades do.
    pub detector: Option<PathBuf>,
    /// What tells people apart: a model that gives a vector for a face. `None`: OpenCV's local binary patterns do.
    pub recognizer: Option<PathBuf>,
}

/// The models, loaded.
#[derive(Debug, Clone, Default)]
pub struct Models {
    pub(crate) detector: Option<Arc<Yunet>>,
    pub(crate) recognizer: Option<Arc<Embedding>>,
}

impl Models {
    /// Loads the models that are given, and tries each once. The error says which can't be used, and why.
    pub fn load(paths: &ModelPaths) -> Result<Models, String> {
        fn one<T>(
            path: Option<&PathBuf>,
            what: &str,
            load: impl Fn(&Path) -> Result<T, String>,
        ) -> Result<Option<Arc<T>>, String> {
            let load = |path: &PathBuf| {
                load(path)
                    .map(Arc::new)
                    .map_err(|why| format!("the {what} {} can't be used: {why}", path.display()))
            };
            path.map(load).transpose()
        }
        Ok(Models {
            detector: one(paths.detector.as_ref(), "face detector's model", Yunet::load)?,
            recognizer: one(
                paths.recognizer.as_ref(),
                "face recognizer's model",
                Embedding::load,
            )?,
        })
    }
}
