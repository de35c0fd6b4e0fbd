internal import Foundation

/// The folder in which the Python package `huggingface_hub` keeps what it fetched, found and read by its rules.
///
/// A repository `owner/name` is the folder `models--owner--name`: `refs` has a file for each name of a revision, with the
/// commit in it, and `snapshots` a folder for each commit, whose files are links to `blobs`, named by their hashes.
public struct HuggingFaceCache: Sendable {
    /// The folder.
    public let folder: String

    /// Finds the folder as `huggingface_hub.constants` does.
    ///
    /// `HF_HUB_CACHE`, or `HUGGINGFACE_HUB_CACHE`, or the folder `hub` in `HF_HOME`, or in `huggingface` in `XDG_CACHE_HOME`
    /// or `~/.cache`. A variable that is set to nothing counts, as it does there; `~` and `$NAME` are replaced.
    ///
    /// - Parameter environment: Where the variables are looked up.
    public init(environment: [String: String]) {
        func expanded(_ path: String) -> String {
            Self.withVariables(Self.withHome(path, environment), environment)
        }
        let cache = environment["XDG_CACHE_HOME"] ?? Self.withHome("~", environment).appendingPath(".cache")
        let home = expanded(environment["HF_HOME"] ?? cache.appendingPath("huggingface"))
        folder = expanded(
            environment["HF_HUB_CACHE"] ?? environment["HUGGINGFACE_HUB_CACHE"] ?? home.appendingPath("hub"))
    }

    /// A file or a folder of a repository: `owner/name`, `owner/name:file`, `owner/name@revision`.
    public struct Reference: Sendable, Hashable {
        /// `owner/name`, or `name` alone.
        public let repository: String
        /// A branch, a tag or a commit.
        public let revision: String
        /// The file in the repository, or `nil` for all of it.
        public let file: String?

        /// Reads a reference; `nil` where the text is none, by the rules for names of repositories, or would lead out of
        /// the repository's folder.
        ///
        /// - Parameter text: The reference.
        public init?(_ text: String) {
            guard !text.utf8.contains(0) else { return nil }
            let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let names = parts[0].split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
            repository = String(names[0])
            revision = names.count > 1 ? String(names[1]) : "main"
            file = parts.count > 1 ? String(parts[1]) : nil
            guard Self.isName(repository), Self.staysInside(revision), file.map(Self.staysInside) ?? true else {
                return nil
            }
        }

        /// `huggingface_hub.utils.validate_repo_id`.
        private static func isName(_ text: String) -> Bool {
            let parts = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
            guard parts.count <= 2, !text.contains("--"), !text.contains(".."), !text.hasSuffix(".git") else {
                return false
            }
            func isWord(_ byte: UInt8) -> Bool {
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
            return parts.allSatisfy { part in
                guard 1...96 ~= part.count, let first = part.first, let last = part.last else { return false }
                return isWord(first) && isWord(last)
                    && part.allSatisfy { isWord($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
            }
        }

        private static func staysInside(_ path: String) -> Bool {
            !path.isEmpty && path.utf8.count <= 1024
                && path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).allSatisfy {
                    !$0.isEmpty && !$0.elementsEqual(".".utf8) && !$0.elementsEqual("..".utf8)
                }
                && !path.utf8.contains(UInt8(ascii: "\\"))
        }
    }

    /// Returns where a reference leads, whether or not something is there.
    ///
    /// - Parameter reference: The repository, the revision, and perhaps the file.
    /// - Returns: The path of the snapshot's folder, or of the file in it; where the revision is not known, the path in
    ///   `snapshots` that it would have by its own name.
    public func path(of reference: Reference) -> String {
        let repository = self.path(ofRepository: reference.repository)
        var revision = reference.revision
        let name = repository.appendingPath("refs").appendingPath(revision)
        if let commit = try? String(contentsOfFile: name, encoding: .utf8), Self.isCommit(commit) { revision = commit }
        let snapshot = repository.appendingPath("snapshots").appendingPath(revision)
        return reference.file.map { snapshot.appendingPath($0) } ?? snapshot
    }

    /// A repository of which a snapshot is here.
    public struct Repository: Sendable {
        /// `owner/name`.
        public let name: String
        /// The snapshot's commit.
        public let commit: String
        /// The snapshot's folder.
        public let path: String
    }

    /// The repositories that are here, by their names, each by its revision `main`, or where there is none by its only one.
    public var repositories: [Repository] {
        let folders = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return folders.filter { $0.hasPrefix("models--") }.sorted().compactMap { entry in
            let name = entry.dropFirst("models--".count).replacingOccurrences(of: "--", with: "/")
            guard let reference = Reference(name) else { return nil }
            let path = path(of: reference)
            if isFolder(path) { return Repository(name: name, commit: path.lastPathComponent, path: path) }
            let snapshots = self.path(ofRepository: name).appendingPath("snapshots")
            let commits = (try? FileManager.default.contentsOfDirectory(atPath: snapshots)) ?? []
            guard commits.count == 1, isFolder(snapshots.appendingPath(commits[0])) else { return nil }
            return Repository(
                name: "\(name)@\(commits[0])", commit: commits[0], path: snapshots.appendingPath(commits[0]))
        }
    }

    private func path(ofRepository name: String) -> String {
        folder.appendingPath("models--" + name.replacingOccurrences(of: "/", with: "--"))
    }

    private func isFolder(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
    }

    /// What a file of `refs` may say: a name that leads elsewhere is none.
    private static func isCommit(_ text: String) -> Bool {
        1...128 ~= text.utf8.count
            && text.utf8.allSatisfy {
                UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 || UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0
                    || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= $0
            }
    }

    /// Python's `os.path.expanduser`.
    private static func withHome(_ path: String, _ environment: [String: String]) -> String {
        guard path.hasPrefix("~") else { return path }
        let end = path.firstIndex(of: "/") ?? path.endIndex
        let user = path[path.index(after: path.startIndex)..<end]
        let found = user.isEmpty ? environment["HOME"] ?? NSHomeDirectory() : NSHomeDirectoryForUser(String(user))
        guard var home = found else { return path }
        while home.hasSuffix("/") { home.removeLast() }
        let result = home + path[end...]
        return result.isEmpty ? "/" : result
    }

    /// Python's `os.path.expandvars`: `$NAME` and `${NAME}`; those that are not set stay.
    private static func withVariables(_ path: String, _ environment: [String: String]) -> String {
        var result = ""
        var rest = path[...]
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            let after = rest[rest.index(after: dollar)...]
            let name: Substring
            let end: Substring.Index
            if after.first == "{", let brace = after.firstIndex(of: "}") {
                name = after[after.index(after: after.startIndex)..<brace]
                end = after.index(after: brace)
            } else {
                name = after.prefix { $0.isASCII && ($0 == "_" || $0.isLetter || $0.isNumber) }
                end = name.endIndex
            }
            result +=
                name.isEmpty ? rest[dollar..<end] : environment[String(name)].map { $0[...] } ?? rest[dollar..<end]
            rest = rest[end...]
        }
        return result + rest
    }
}

extension String {
    /// Python's `os.path.join`.
    fileprivate func appendingPath(_ part: String) -> String {
        if part.hasPrefix("/") { return part }
        return isEmpty || hasSuffix("/") ? self + part : self + "/" + part
    }

    fileprivate var lastPathComponent: String { split(separator: "/").last.map(String.init) ?? self }
}
