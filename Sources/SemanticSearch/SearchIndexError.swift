internal import GRDB
public import ModelFiles

/// An index that cannot be used, or a call that it cannot answer.
public enum SearchIndexError: Error, CustomStringConvertible {
    /// There is no index, or one that nothing was ever added to.
    case notFound(path: String)
    /// The file is no SQLite database, or holds something else.
    case notAnIndex(path: String)
    /// The file contradicts itself.
    case damaged(path: String, reason: String)
    /// The index is of another version of this package.
    case unsupportedVersion(path: String, found: Int, supported: Int)
    /// The index holds vectors of another model.
    case otherModel(path: String, indexed: String, given: String)
    /// Another process has been writing for longer than one waits.
    case locked(path: String)
    /// The file, or its folder, cannot be written.
    case notWritable(path: String)
    /// The system refuses.
    case inaccessible(path: String, reason: String)
    /// Nothing of this name was added.
    case unknownSource(name: String)
    /// Another process has updated the same source, from an earlier or later state of it, meanwhile.
    case updatedMeanwhile(name: String)
    /// The query has no word.
    case emptyQuery
    /// A text cannot be turned into tokens.
    case text(TokenizerError)

    /// What went wrong, where, and what to try.
    public var description: String {
        switch self {
        case .notFound(let path): "There is no index '\(path)'. Add a file to it first."
        case .notAnIndex(let path): "'\(path)' is no index of sentences. Name another file."
        case .damaged(let path, let reason):
            "The index '\(path)' is damaged: \(reason). Delete it and add its sources anew."
        case .unsupportedVersion(let path, let found, let supported):
            "The index '\(path)' has format \(found); this version reads \(supported). Add its sources to a new file."
        case .otherModel(let path, let indexed, let given):
            "The index '\(path)' holds vectors of '\(indexed)', which are not those that '\(given)' gives. Use the same "
                + "model, or another index."
        case .locked(let path): "The index '\(path)' is being written by another process. Try again later."
        case .notWritable(let path):
            "The index '\(path)' cannot be written, or its folder cannot. Both have to be writable, for reading too: "
                + "SQLite keeps its log beside the file. Copy it to another folder."
        case .inaccessible(let path, let reason): "The index '\(path)' cannot be used: \(reason)."
        case .unknownSource(let name): "The index holds nothing of '\(name)'."
        case .updatedMeanwhile(let name):
            "Another process has updated '\(name)' meanwhile. Add it again, unless that was what you wanted."
        case .emptyQuery: "The query is empty. Give at least one word."
        case .text(let error): error.description
        }
    }

    /// What an error of the database means.
    init(_ error: DatabaseError, path: String) {
        let reason = error.message ?? error.resultCode.description
        self =
            switch error.resultCode.primaryResultCode {
            case .SQLITE_NOTADB: .notAnIndex(path: path)
            case .SQLITE_CORRUPT, .SQLITE_ERROR, .SQLITE_MISMATCH: .damaged(path: path, reason: reason)
            case .SQLITE_BUSY, .SQLITE_LOCKED: .locked(path: path)
            case .SQLITE_READONLY, .SQLITE_CANTOPEN, .SQLITE_PERM: .notWritable(path: path)
            default: .inaccessible(path: path, reason: reason)
            }
    }
}
