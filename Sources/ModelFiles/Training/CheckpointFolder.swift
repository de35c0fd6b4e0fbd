#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A folder of checkpoints, each of which is there whole or not at all.
///
/// ```
/// checkpoints/
///   step-00001000/
///     model.safetensors        what the caller gives
///     optimizer.safetensors
///     state.json
///     manifest.json            the step, and each file's name, bytes and fingerprint
///   step-00002000.partial/     being written, or left by a process that was killed
/// ```
///
/// A checkpoint is written into a folder `….partial`, each file of it synced to the disk, the manifest last. Then the
/// folder is renamed, which happens at once or not at all, and the folder above is synced. Only when the new checkpoint
/// stands are old ones removed. Whenever the process is killed or the disk fills up, the last good one is there.
///
/// One process at a time may write to a folder.
public struct CheckpointFolder: Sendable {
    /// The folder's path.
    public let path: String
    /// How many checkpoints are kept, the newest ones.
    public let keptCount: Int

    /// A file of a checkpoint to be written.
    public struct File {
        /// A plain name, not a path; `manifest.json` is taken.
        public let name: String
        /// What it holds.
        public let content: Content

        /// Describes a file.
        public init(_ name: String, _ content: Content) {
            self.name = name
            self.content = content
        }
    }

    /// What a file of a checkpoint holds.
    public enum Content {
        /// Tensors, as a safetensors file; the name has to end in `.safetensors`.
        case tensors([SafetensorsFile.TensorToWrite], metadata: [(key: String, value: String)] = [])
        /// Any bytes.
        case bytes([UInt8])
    }

    static let manifestName = "manifest.json"
    private static let maximumManifestByteCount = 1 << 20

    /// Describes a folder, which need not exist; the first checkpoint makes it.
    ///
    /// - Parameters:
    ///   - path: The folder's path.
    ///   - keptCount: How many checkpoints to keep; less than 1 counts as 1.
    public init(_ path: String, keeping keptCount: Int = 2) {
        self.path = path
        self.keptCount = max(1, keptCount)
    }

    // MARK: - Writing

    /// Writes a checkpoint, and then removes those that are no longer kept.
    ///
    /// - Parameters:
    ///   - step: The number of steps trained so far, from 0. A checkpoint of this step is replaced.
    ///   - files: What it holds, at least one file.
    /// - Returns: The path of the checkpoint's folder.
    /// - Throws: ``CheckpointError``; all earlier checkpoints stand then, and nothing of the new one is left. Where an
    ///   old one cannot be removed, it stays, and nothing is thrown.
    @discardableResult
    public func write(step: Int, _ files: [File]) throws(CheckpointError) -> String {
        let partial = try begin(step: step)
        do {
            try writeManifest(step: step, try write(files, into: partial), into: partial)
            try publish(step: step)
        } catch {
            Folder.remove(partial)
            throw error
        }
        removeOld(standing: step)
        return folder(of: step)
    }

    /// Removes what killed processes have left, and makes the folder that is to become the checkpoint.
    func begin(step: Int) throws(CheckpointError) -> String {
        guard step >= 0 else { throw .negativeStep(step) }
        try requireFolder()
        return try Self.files { () throws(FileError) in
            try Folder.create(path)
            for name in try Folder.names(in: path) where name.hasSuffix(Self.partialSuffix) && Self.step(name) != nil {
                Folder.remove("\(path)/\(name)")
            }
            let partial = folder(of: step) + Self.partialSuffix
            guard mkdir(partial, 0o777) == 0 else {
                throw FileError(partial, "create", code: errno, byteCount: 0)
            }
            return partial
        }
    }

    /// Writes and syncs the files, and returns the manifest's entries.
    func write(_ files: [File], into partial: String) throws(CheckpointError) -> [JSONValue] {
        guard !files.isEmpty else { throw .noFiles(path: partial) }
        var names: Set<ExactString> = []
        var entries: [JSONValue] = []
        for file in files {
            guard Self.isPlainName(file.name), names.insert(ExactString(file.name)).inserted else {
                throw .invalidName(file.name)
            }
            let filePath = "\(partial)/\(file.name)"
            let byteCount: Int
            let fingerprint: Fingerprint
            switch file.content {
            case .bytes(let bytes):
                byteCount = bytes.count
                fingerprint = Fingerprint(of: bytes)
                try Self.files { () throws(FileError) in try AtomicFile.write(bytes, to: filePath) }
            case .tensors(let tensors, let metadata):
                guard file.name.hasSuffix(".safetensors") else { throw .invalidName(file.name) }
                do {
                    (byteCount, fingerprint) = try SafetensorsFile.writeFingerprinted(
                        tensors: tensors, metadata: metadata, to: filePath)
                } catch {
                    if case .fileFailed(let error) = error.problem { throw .file(error) }
                    throw .safetensors(error)
                }
            }
            var entry = JSONObject()
            entry.append("name", .string(file.name))
            entry.append("bytes", .integer(Int64(byteCount)))
            entry.append("fingerprint", .string(fingerprint.description))
            entries.append(.object(entry))
        }
        return entries
    }

    /// Writes and syncs the manifest, with which the checkpoint is whole.
    func writeManifest(step: Int, _ entries: [JSONValue], into partial: String) throws(CheckpointError) {
        var manifest = JSONObject()
        manifest.append("step", .integer(Int64(step)))
        manifest.append("files", .array(entries))
        let manifestPath = "\(partial)/\(Self.manifestName)"
        let bytes: [UInt8]
        do {
            bytes = try JSONValue.object(manifest).serialized()
        } catch {
            throw .malformedManifest(path: manifestPath, reason: "\(error)")
        }
        try Self.files { () throws(FileError) in try AtomicFile.write(bytes, to: manifestPath) }
    }

    /// Gives the folder its name.
    func publish(step: Int) throws(CheckpointError) {
        let place = folder(of: step)
        let partial = place + Self.partialSuffix
        var code = rename(partial, place) == 0 ? 0 : errno
        if code == ENOTEMPTY || code == EEXIST {
            // No folder can be renamed onto another that holds files. A process killed between these two lines loses
            // this step's checkpoint; those before it stand.
            let replaced = "\(place).replaced\(Self.partialSuffix)"
            code = rename(place, replaced) == 0 && rename(partial, place) == 0 ? 0 : errno
            if code == 0 { Folder.remove(replaced) } else { rename(replaced, place) }
        }
        guard code == 0 else { throw .file(FileError(place, "replace", code: code, byteCount: 0)) }
        Folder.sync(path)
    }

    /// Removes all but the newest up to the step that has just been written.
    ///
    /// A later one is there only if training went back. If it cannot be read, that is why, and it goes as well.
    func removeOld(standing step: Int) {
        let steps = (try? steps()) ?? []
        let old = steps.filter { $0 <= step }.dropFirst(keptCount)
        let damaged = steps.filter { $0 > step && (try? read(step: $0)) == nil }
        for step in old + damaged {
            // First the name, so that no half of a checkpoint ever bears it.
            let partial = folder(of: step) + Self.partialSuffix
            if rename(folder(of: step), partial) == 0 { Folder.remove(partial) }
        }
    }

    // MARK: - Reading

    /// A checkpoint that was found whole, and is in memory.
    public struct Checkpoint: Sendable {
        /// The number of steps trained.
        public let step: Int
        /// The path of its folder.
        public let path: String
        private let files: [ExactString: MappedFile]

        fileprivate init(step: Int, path: String, files: [ExactString: MappedFile]) {
            self.step = step
            self.path = path
            self.files = files
        }

        /// Returns the file of a name.
        ///
        /// - Throws: ``CheckpointError/missingFile(path:)``.
        public func file(_ name: String) throws(CheckpointError) -> MappedFile {
            guard let file = files[ExactString(name)] else { throw .missingFile(path: "\(path)/\(name)") }
            return file
        }

        /// Returns the tensors in the file of a name.
        ///
        /// - Throws: ``CheckpointError/missingFile(path:)``, ``CheckpointError/safetensors(_:)``.
        public func tensors(_ name: String) throws(CheckpointError) -> SafetensorsFile {
            let file = try file(name)
            do {
                return try SafetensorsFile(file)
            } catch {
                throw .safetensors(error)
            }
        }

        /// Returns the JSON in the file of a name.
        ///
        /// - Throws: ``CheckpointError/missingFile(path:)``, ``CheckpointError/notJSON(path:_:)``.
        public func json(_ name: String) throws(CheckpointError) -> JSONValue {
            let file = try file(name)
            do {
                return try file.withUnsafeBytes { bytes throws(JSONError) in try JSONValue(parsing: bytes) }
            } catch {
                throw .notJSON(path: file.path, error)
            }
        }
    }

    /// Finds the newest checkpoint that is whole, and reads it.
    ///
    /// Every byte is read and compared with the manifest; a file named `….safetensors` has its header checked, one named
    /// `….json` is parsed.
    ///
    /// - Returns: The checkpoint, or `nil` where there is none; and why each newer one was skipped, the newest first.
    /// - Throws: ``CheckpointError`` when the folder itself cannot be read; that it is absent is no error.
    public func newestReadable() throws(CheckpointError) -> (checkpoint: Checkpoint?, skipped: [CheckpointError]) {
        try requireFolder()
        var skipped: [CheckpointError] = []
        for step in try steps() {
            do {
                return (try read(step: step), skipped)
            } catch {
                skipped.append(error)
            }
        }
        return (nil, skipped)
    }

    /// The steps that have a checkpoint, whole or not, the newest first.
    ///
    /// - Throws: ``CheckpointError/file(_:)`` when the folder cannot be read; there are none where it is absent.
    public func steps() throws(CheckpointError) -> [Int] {
        try Self.files { () throws(FileError) in
            guard try Folder.kind(of: path) != .absent else { return [] }
            return try Folder.names(in: path).filter { !$0.hasSuffix(Self.partialSuffix) }.compactMap(Self.step)
                .sorted(by: >)
        }
    }

    /// Reads the checkpoint of a step, having made sure that it is whole.
    ///
    /// - Throws: ``CheckpointError`` that names the file and what is wrong with it.
    public func read(step: Int) throws(CheckpointError) -> Checkpoint {
        let folder = folder(of: step)
        let kind = try Self.files { () throws(FileError) in try Folder.kind(of: folder) }
        guard kind == .folder else { throw .notFolder(path: folder) }
        var files: [ExactString: MappedFile] = [:]
        for entry in try manifest(of: step) {
            let path = "\(folder)/\(entry.name)"
            let file = try Self.readFile(path)
            guard file.count == entry.byteCount else {
                throw .wrongByteCount(path: path, expected: entry.byteCount, found: file.count)
            }
            var fingerprint = Fingerprint()
            file.withUnsafeBytes { fingerprint.combine(bytes: $0) }
            guard fingerprint == entry.fingerprint else { throw .changedBytes(path: path) }
            files[ExactString(entry.name)] = file
        }
        let checkpoint = Checkpoint(step: step, path: folder, files: files)
        for name in files.keys.map(\.string) {
            if name.hasSuffix(".safetensors") { _ = try checkpoint.tensors(name) }
            if name.hasSuffix(".json") { _ = try checkpoint.json(name) }
        }
        return checkpoint
    }

    private func manifest(
        of step: Int
    ) throws(CheckpointError) -> [(name: String, byteCount: Int, fingerprint: Fingerprint)] {
        let path = "\(folder(of: step))/\(Self.manifestName)"
        let file = try Self.readFile(path)
        guard file.count <= Self.maximumManifestByteCount else {
            throw .malformedManifest(path: path, reason: "it has \(file.count) bytes")
        }
        let json: JSONValue
        do {
            json = try file.withUnsafeBytes { bytes throws(JSONError) in try JSONValue(parsing: bytes) }
        } catch {
            throw .malformedManifest(path: path, reason: "\(error)")
        }
        guard json["step"]?.integerValue == Int64(step) else {
            throw .malformedManifest(path: path, reason: "it is not of step \(step)")
        }
        guard let entries = json["files"]?.arrayValue, !entries.isEmpty else {
            throw .malformedManifest(path: path, reason: "it lists no files")
        }
        var result: [(name: String, byteCount: Int, fingerprint: Fingerprint)] = []
        for entry in entries {
            guard let name = entry["name"]?.stringValue, Self.isPlainName(name),
                let byteCount = entry["bytes"]?.integerValue.flatMap({ Int(exactly: $0) }),
                let fingerprint = entry["fingerprint"]?.stringValue.flatMap({ Fingerprint($0) })
            else {
                throw .malformedManifest(path: path, reason: "an entry lacks a plain name, bytes or a fingerprint")
            }
            result.append((name, byteCount, fingerprint))
        }
        return result
    }

    private static func readFile(_ path: String) throws(CheckpointError) -> MappedFile {
        do {
            return try MappedFile(reading: path)
        } catch {
            if case .system(_, ENOENT) = error.problem { throw .missingFile(path: path) }
            throw .file(error)
        }
    }

    // MARK: - Names

    private static let prefix = "step-"
    private static let partialSuffix = ".partial"

    func folder(of step: Int) -> String {
        let digits = String(step)
        return "\(path)/\(Self.prefix)\(String(repeating: "0", count: max(0, 8 - digits.count)))\(digits)"
    }

    /// The step that a folder's name tells, `.partial` or not, or `nil` for what is not ours.
    private static func step(_ name: String) -> Int? {
        guard name.hasPrefix(prefix) else { return nil }
        var digits = name.dropFirst(prefix.count)
        for suffix in [partialSuffix, ".replaced"] where digits.hasSuffix(suffix) {
            digits = digits.dropLast(suffix.count)
        }
        guard digits.count >= 8, digits.utf8.allSatisfy({ 0x30...0x39 ~= $0 }) else { return nil }
        guard let step = Int(digits), digits.count == 8 || !digits.hasPrefix("0") else { return nil }
        return step
    }

    /// Whether a name leads nowhere but into its folder.
    private static func isPlainName(_ name: String) -> Bool {
        !name.isEmpty && name != "." && name != ".." && ExactString(name) != ExactString(manifestName)
            && !name.utf8.contains { $0 == 0 || $0 == UInt8(ascii: "/") }
    }

    private func requireFolder() throws(CheckpointError) {
        switch try Self.files({ () throws(FileError) in try Folder.kind(of: path) }) {
        case .absent, .folder: return
        case .file, .other: throw .notFolder(path: path)
        }
    }

    private static func files<Value>(_ body: () throws(FileError) -> Value) throws(CheckpointError) -> Value {
        do {
            return try body()
        } catch {
            throw .file(error)
        }
    }
}

/// A checkpoint that cannot be written, or is not whole.
public enum CheckpointError: Error, Equatable, CustomStringConvertible {
    /// The system refused; that the disk is full, too.
    case file(FileError)
    /// A path that names no folder.
    case notFolder(path: String)
    /// A checkpoint without files was to be written.
    case noFiles(path: String)
    /// A file's name that is a path, taken, occurs twice, or has another ending than its content.
    case invalidName(String)
    /// A number of steps below 0.
    case negativeStep(Int)
    /// A manifest that is not one.
    case malformedManifest(path: String, reason: String)
    /// A file that is not there.
    case missingFile(path: String)
    /// A file of other bytes than were written.
    case wrongByteCount(path: String, expected: Int, found: Int)
    /// A file of as many bytes as were written, but not the same.
    case changedBytes(path: String)
    /// Tensors that cannot be written or read.
    case safetensors(SafetensorsError)
    /// A file that is not the JSON that its name promises.
    case notJSON(path: String, JSONError)

    /// What went wrong, where, and what to try.
    public var description: String {
        let earlier = "Go on from an earlier checkpoint."
        switch self {
        case .file(let error):
            return error.description
        case .notFolder(let path):
            return "'\(path)' is not a folder. Move it away, or write to another folder."
        case .noFiles(let path):
            return "The checkpoint '\(path)' would have no files. Give at least one."
        case .invalidName(let name):
            return "A file of a checkpoint cannot be called '\(name)'. Use a plain name, each once, that ends in "
                + ".safetensors for tensors."
        case .negativeStep(let step):
            return "There is no step \(step). Steps count from 0."
        case .malformedManifest(let path, let reason):
            return "The manifest '\(path)' is damaged: \(reason). \(earlier)"
        case .missingFile(let path):
            return "The checkpoint's file '\(path)' is missing. \(earlier)"
        case .wrongByteCount(let path, let expected, let found):
            return "'\(path)' has \(found) bytes, but \(expected) were written. \(earlier)"
        case .changedBytes(let path):
            return "'\(path)' has other bytes than were written. \(earlier)"
        case .safetensors(let error):
            return error.description
        case .notJSON(let path, let error):
            return "'\(path)' is damaged: \(error) \(earlier)"
        }
    }
}
