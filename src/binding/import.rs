//! Loads whose rows come from a file: what JavaScript says of it, and how far it is.

use std::path::PathBuf;

use napi::sys;
use napi_derive::napi;

use super::append::Problem;
use super::call::Call;
use super::load::{as_count, limit_of};
use crate::error::Error;
use crate::load::Load;
use crate::source::csv::{Header, Settings};
use crate::source::import::{Content, File, Import};
use crate::source::{rows, script};
use crate::template::{OnNull, compile};

/// A file, as `lib/import.js` describes it.
#[napi(object, object_to_js = false)]
pub(crate) struct NativeFile {
    pub path: String,
    #[napi(ts_type = "'csv' | 'tsv' | 'ndjson' | 'resp' | 'commands'")]
    pub format: String,
    /// Of the template: one for each command.
    pub texts: Vec<String>,
    #[napi(ts_type = "'throw' | 'skip' | 'empty'")]
    pub on_null: String,
    pub delimiter: String,
    /// The first row has the names of the columns.
    pub header: bool,
    /// They are these.
    pub names: Option<Vec<String>>,
    /// Commands are made, and none is executed.
    pub rehearsal: bool,
}

impl NativeFile {
    pub(super) fn content(self) -> Result<Content, Error> {
        let commands = |format| Ok(Content::Commands(format));
        let format = match self.format.as_str() {
            "resp" => return commands(script::Format::Resp),
            "commands" => return commands(script::Format::Commands),
            "ndjson" => rows::Format::Ndjson,
            _ => rows::Format::Csv(Settings {
                delimiter: self.delimiter.bytes().next().unwrap_or(b','),
                header: match self.names {
                    Some(names) => Header::Given(names),
                    None if self.header => Header::Row,
                    None => Header::None,
                },
            }),
        };
        let texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
        Ok(Content::Rows {
            format,
            template: compile(&texts)?,
            on_null: OnNull::of(&self.on_null),
        })
    }
}

/// Begins to load a file, from row `first` on; returns the number of the load. Its end is dispatched under `ticket`. None:
/// `problem` tells.
pub(super) fn import_file(
    call: Call<'_>,
    handle: u32,
    ticket: u32,
    max_failed: f64,
    first: f64,
    file: NativeFile,
) -> Result<Option<u32>, Error> {
    let begun = call.with(handle, |slot| {
        let path = PathBuf::from(&file.path);
        let rehearsal = file.rehearsal;
        let content = file.content()?;
        let file = File {
            path,
            content,
            first_row: as_count(first),
        };
        let number = slot.loads.number();
        let shared = slot.pipeline.shared();
        let mut load = Load::new(shared, number, limit_of(max_failed));
        if rehearsal {
            load = load.rehearse();
        }
        let import = Import::begin(shared, load, file, ticket);
        let import = import.map_err(|error| Error::Internal(format!("no thread to read the file: {error}")))?;
        slot.loads.imports.insert(number, import);
        Ok(number)
    })?;
    match begun {
        Ok(number) => Ok(Some(number)),
        Err(error) => {
            call.instance.problem.replace(Some(Problem::of(error)));
            Ok(None)
        }
    }
}

/// No more rows of it are taken.
pub(super) fn stop_import(call: Call<'_>, handle: u32, number: u32) -> Result<(), Error> {
    call.with(handle, |slot| {
        if let Some(import) = slot.loads.imports.get(&number) {
            import.stop();
        }
    })
}

/// Of a rehearsal: the first commands, in RESP.
pub(super) fn import_sample(call: Call<'_>, handle: u32, number: u32) -> Result<sys::napi_value, Error> {
    let import = call.with(handle, |slot| slot.loads.imports.get(&number).cloned())?;
    let js = call.js;
    let commands = import.map_or_else(Vec::new, |import| import.sample());
    let list = js.array(commands.len())?;
    for (at, command) in commands.iter().enumerate() {
        js.set_element(list, at, js.buffer(command)?)?;
    }
    Ok(list)
}

/// How far it is: `{ rows, bytesRead?, bytesTotal? }`.
pub(super) fn import_stats(call: Call<'_>, handle: u32, number: u32) -> Result<sys::napi_value, Error> {
    let import = call.with(handle, |slot| slot.loads.imports.get(&number).cloned())?;
    let js = call.js;
    let object = js.object()?;
    let rows = import.as_ref().map_or(0, |import| import.rows());
    js.set(object, "rows", js.count(rows)?)?;
    if let Some(progress) = import.as_ref().and_then(|import| import.progress()) {
        js.set(object, "bytesRead", js.count(progress.read())?)?;
        if let Some(total) = progress.total() {
            js.set(object, "bytesTotal", js.count(total)?)?;
        }
    }
    Ok(object)
}
