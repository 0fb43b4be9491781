//! Neural networks (ONNX), run by tract. One that is in use is loaded once, however many use it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

use kms_core::object::lock;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike;
use tract_onnx::tract_hir::infer::Factoid;

/// Bytes of a model's file.
const LARGEST: u64 = 512 * 1024 * 1024;

/// A network that is ready.
#[derive(Debug)]
pub(crate) struct Net {
    plan: Arc<TypedRunnableModel>,
    /// Of its outputs.
    names: Vec<String>,
    /// Of its input.
    pub(crate) shape: [usize; 4],
}

/// The shape of a network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// It should be this.
    Is([usize; 4]),
    /// A picture, one colour after the other: as the model says, with sides of so many pixels where it leaves them open.
    Picture { side: usize },
}

/// The numbers of a tensor, and how many there are each way.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// What a file was when it was loaded.
#[derive(PartialEq, Eq, Hash)]
struct Version {
    path: PathBuf,
    changed: Option<SystemTime>,
    length: u64,
    input: Input,
}

/// Held for moments.
static LOADED: Mutex<Option<HashMap<Version, Weak<Net>>>> = Mutex::new(None);
/// Held while one is loaded, for that takes much memory and time: one after the other.
static LOADING: Mutex<()> = Mutex::new(());

fn loaded(version: &Version) -> Option<Arc<Net>> {
    lock(&LOADED).as_ref()?.get(version)?.upgrade()
}

impl Net {
    /// The network in a file, loaded unless somebody uses it. What is wrong is said with the tensor's name. May take long.
    pub(crate) fn load(path: &Path, input: Input) -> Result<Arc<Net>, String> {
        let meta = std::fs::metadata(path).map_err(|e| e.to_string())?;
        if !meta.is_file() || meta.len() > LARGEST {
            return Err("it should be a file of at most 512 MiB".into());
        }
        let version = Version {
            path: path.canonicalize().map_err(|e| e.to_string())?,
            changed: meta.modified().ok(),
            length: meta.len(),
            input,
        };
        if let Some(net) = loaded(&version) {
            return Ok(net);
        }
        let _loading = lock(&LOADING);
        // Somebody else may have loaded it meanwhile.
        if let Some(net) = loaded(&version) {
            return Ok(net);
        }
        let net = Arc::new(caught(|| Net::read(path, input))?);
        let mut loaded = lock(&LOADED);
        let loaded = loaded.get_or_insert_default();
        loaded.retain(|_, net| net.strong_count() > 0);
        loaded.insert(version, Arc::downgrade(&net));
        Ok(net)
    }

    fn read(path: &Path, input: Input) -> Result<Net, String> {
        let failed = |e: TractError| format!("{e:#}");
        let model = onnx().model_for_path(path).map_err(failed)?;
        let inputs = model.input_outlets().map_err(failed)?.to_vec();
        let [_] = inputs.as_slice() else {
            return Err(format!("it has {} inputs, and should have one", inputs.len()));
        };
        let name = model.node(inputs[0].node).name.clone();
        let declared = model.input_fact(0).map_err(failed)?.clone();
        let declared: Vec<Option<usize>> = declared
            .shape
            .dims()
            .map(|dim| dim.concretize().and_then(|dim| dim.to_usize().ok()))
            .collect();
        let shape = input.shape(&name, &declared)?;
        let model = model
            .with_input_fact(0, f32::fact(shape).into())
            .map_err(failed)?;
        // Before it is optimized: two outputs may become one.
        let outputs = model.output_outlets().map_err(failed)?.iter();
        let name = |outlet: &OutletId| {
            let label = model.outlet_label(*outlet);
            label.unwrap_or(&model.node(outlet.node).name).to_owned()
        };
        let names = outputs.map(name).collect();
        let plan = model
            .into_optimized()
            .and_then(|m| m.into_runnable())
            .map_err(failed)?;
        Ok(Net { plan, names, shape })
    }

    /// What it gives for this input. Takes as long as it takes.
    pub(crate) fn run(&self, input: Vec<f32>) -> Result<Vec<Numbers>, String> {
        caught(|| {
            let input = Tensor::from_shape(&self.shape, &input)?;
            let outputs = self.plan.run(tvec!(input.into()))?;
            let numbers = outputs.iter().zip(&self.names).map(|(output, name)| {
                let values = output.cast_to::<f32>()?;
                Ok(Numbers {
                    name: name.clone(),
                    shape: values.shape().to_vec(),
                    values: values.to_plain_array_view::<f32>()?.iter().copied().collect(),
                })
            });
            numbers.collect::<TractResult<_>>()
        })
    }
}

impl Input {
    fn shape(self, name: &str, declared: &[Option<usize>]) -> Result<[usize; 4], String> {
        let wanted = match (self, declared) {
            (Input::Is(shape), _) => shape,
            (Input::Picture { side }, [_, colours, height, width]) => [
                1,
                colours.unwrap_or(3),
                height.unwrap_or(side),
                width.unwrap_or(side),
            ],
            (Input::Picture { side }, _) => [1, 3, side, side],
        };
        let agrees = declared.len() == wanted.len()
            && declared
                .iter()
                .zip(wanted)
                .all(|(is, wanted)| is.is_none_or(|is| is == wanted));
        if declared.is_empty() || agrees {
            return Ok(wanted);
        }
        let declared: Vec<String> = declared
            .iter()
            .map(|d| d.map_or("?".into(), |d| d.to_string()))
            .collect();
        Err(format!(
            "its input '{name}' is {}, and the description makes it {}",
            declared.join("x"),
            shown(&wanted)
        ))
    }
}

impl Numbers {
    /// Rows of numbers: a shape such as 1 x rows x columns.
    pub(crate) fn rows(&self) -> Result<(usize, usize), String> {
        let [ones @ .., rows, columns] = self.shape.as_slice() else {
            return Err(self.is_not("rows of numbers"));
        };
        if ones.iter().any(|n| *n != 1) {
            return Err(self.is_not("rows of numbers"));
        }
        Ok((*rows, *columns))
    }

    pub(crate) fn is_not(&self, what: &str) -> String {
        format!(
            "its output '{}' is {}, which is not {what}",
            self.name,
            shown(&self.shape)
        )
    }
}

fn shown(shape: &[usize]) -> String {
    let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
    shape.join("x")
}

/// A model may be anything: what panics is an error.
fn caught<T, E: std::fmt::Display>(run: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => outcome.map_err(|e| format!("{e:#}")),
        Err(_) => Err("it can't be run".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_in_use_is_loaded_once() {
        let path = format!("{}/../tests/media/models/yolo.onnx", env!("CARGO_MANIFEST_DIR"));
        let load = || Net::load(Path::new(&path), Input::Is([1, 3, 48, 64])).expect("a model");
        let (one, two) = (load(), load());
        assert!(Arc::ptr_eq(&one, &two));
        let of_model = Net::load(Path::new(&path), Input::Picture { side: 32 }).expect("a model");
        assert_eq!(of_model.shape, [1, 3, 48, 64]);
        let gone = Arc::downgrade(&one);
        drop((one, two));
        assert!(gone.upgrade().is_none(), "it is not kept for nobody");
    }
}
