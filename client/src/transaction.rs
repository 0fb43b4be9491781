//! Several operations in one request.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::error::{Error, Result, ServerError};

/// Operations that are sent in one request and carried out in order. See [`Client::transaction`].
#[derive(Debug)]
pub struct Transaction {
    client: Client,
    operations: Vec<Value>,
}

/// Stands for the object that an earlier `create` of the same transaction will have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRef(usize);

impl std::fmt::Display for NewRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "newref:{}", self.0)
    }
}

impl Serialize for NewRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Transaction {
    pub(crate) fn new(client: Client) -> Transaction {
        Transaction {
            client,
            operations: Vec::new(),
        }
    }

    /// Creates an object. The result can stand for it in later operations, as an object or as a parameter.
    pub fn create(&mut self, class: &str, params: Value) -> NewRef {
        NewRef(self.push("create", json!({"type": class, "constructorParams": params})))
    }

    /// Invokes an operation of an object: an [`ObjectId`](crate::ObjectId) or a [`NewRef`].
    pub fn invoke(&mut self, object: &impl ToString, operation: &str, params: Value) {
        let params = json!({"object": object.to_string(), "operation": operation, "operationParams": params});
        self.push("invoke", params);
    }

    /// Releases an object.
    pub fn release(&mut self, object: &impl ToString) {
        self.push("release", json!({"object": object.to_string()}));
    }

    /// Sends the operations and waits for all their results, which come in the same order. An operation that fails does
    /// not undo those before it; how many of those after it are still carried out is up to the server, so there may be
    /// fewer results than operations.
    pub async fn commit(self) -> Result<Vec<std::result::Result<Value, ServerError>>> {
        let mut params = Map::new();
        params.insert("operations".into(), self.operations.into());
        let answer = self.client.request("transaction", params).await?;
        let Some(Value::Array(results)) = answer.get("value") else {
            return Err(Error::answer("transaction", "a list was expected"));
        };
        Ok(results.iter().map(result_of).collect())
    }

    fn push(&mut self, verb: &str, params: Value) -> usize {
        let id = self.operations.len();
        self.operations
            .push(json!({"jsonrpc": "2.0", "id": id, "method": verb, "params": params}));
        id
    }
}

fn result_of(response: &Value) -> std::result::Result<Value, ServerError> {
    match response.get("error") {
        Some(error) => Err(ServerError::from_json(error)),
        None => Ok(response["result"]["value"].clone()),
    }
}
