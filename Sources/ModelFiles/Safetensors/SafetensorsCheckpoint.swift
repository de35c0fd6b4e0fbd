/// The tensors of a model's folder: those of `model.safetensors`, or of the files that `model.safetensors.index.json` names.
///
/// Files are named in the index by plain names, and lie in the folder itself. Which tensor is in which file is checked, not
/// believed: the index and the files have to name the same tensors.
public struct SafetensorsCheckpoint: Sendable {
    /// The file of a model that has one alone.
    public static let fileName = "model.safetensors"
    /// The index of a model that has several.
    public static let indexName = "model.safetensors.index.json"
    /// More files than this are taken for a mistake.
    public static let maximumFileCount = 4096

    /// The file, or the index: what to name in messages.
    public let path: String
    /// The files, in the order of their names.
    public let files: [SafetensorsFile]

    private let fileIndices: [ExactString: Int]

    /// Opens and checks a folder's files.
    ///
    /// - Parameters:
    ///   - folder: The model's folder; where it has both, the single file is taken, as other programs do.
    ///   - mapped: Whether to map files into memory, which takes no time, or to read them whole.
    /// - Throws: `SafetensorsError` when a file cannot be opened or is damaged, or the index contradicts the files.
    public init(folder: String, mapped: Bool = true) throws(SafetensorsError) {
        let (single, index) = ("\(folder)/\(Self.fileName)", "\(folder)/\(Self.indexName)")
        guard try Self.kind(of: single) == .absent, try Self.kind(of: index) == .file else {
            self.init(try SafetensorsFile(path: single, mapped: mapped))
            return
        }
        let places = try Self.places(index)
        var files: [SafetensorsFile] = []
        var indices: [ExactString: Int] = [:]
        let placesByFile = Dictionary(grouping: places) { ExactString($0.fileName) }
        for (name, places) in placesByFile.sorted(by: { $0.key.string < $1.key.string }) {
            let file = try SafetensorsFile(path: "\(folder)/\(name.string)", mapped: mapped)
            for tensor in file.tensors {
                if indices.updateValue(files.count, forKey: ExactString(tensor.name)) != nil {
                    throw SafetensorsError(path: index, problem: .duplicateName(tensor.name))
                }
            }
            for place in places where file.tensor(named: place.tensorName) == nil {
                throw SafetensorsError(path: file.file.path, problem: .missingTensor(place.tensorName))
            }
            files.append(file)
        }
        guard indices.count == places.count else {
            let named = Set(places.map { ExactString($0.tensorName) })
            let other = indices.keys.filter { !named.contains($0) }.map(\.string).min() ?? ""
            throw SafetensorsError(path: index, problem: .notInIndex(tensor: other))
        }
        self.init(path: index, files: files, fileIndices: indices)
    }

    /// The tensors of one file.
    public init(_ file: SafetensorsFile) {
        self.init(
            path: file.file.path, files: [file],
            fileIndices: Dictionary(file.tensors.map { (ExactString($0.name), 0) }) { first, _ in first })
    }

    private init(path: String, files: [SafetensorsFile], fileIndices: [ExactString: Int]) {
        self.path = path
        self.files = files
        self.fileIndices = fileIndices
    }

    private static func kind(of path: String) throws(SafetensorsError) -> Folder.Kind {
        do {
            return try Folder.kind(of: path)
        } catch {
            throw SafetensorsError(path: path, problem: .fileFailed(error))
        }
    }

    /// All tensors, file by file, in the order of their data.
    public var tensors: [SafetensorsFile.Tensor] { files.flatMap(\.tensors) }

    /// Returns the tensor of the given name, or `nil`.
    public func tensor(named name: String) -> SafetensorsFile.Tensor? {
        fileIndices[ExactString(name)].flatMap { files[$0].tensor(named: name) }
    }

    /// Reads which file holds which tensor.
    private static func places(
        _ path: String
    ) throws(SafetensorsError) -> [(tensorName: String, fileName: String)] {
        func error(_ problem: SafetensorsError.Problem) -> SafetensorsError {
            SafetensorsError(path: path, problem: problem)
        }
        let json: JSONValue
        do {
            let file = try MappedFile(reading: path)
            guard file.count <= SafetensorsFile.maximumHeaderByteCount else {
                throw error(.headerTooLong(byteCount: UInt64(file.count)))
            }
            json = try file.withUnsafeBytes { bytes throws(JSONError) in try JSONValue(parsing: bytes, maximumDepth: 8)
            }
        } catch let failure as SafetensorsError {
            throw failure
        } catch let failure as FileError {
            throw error(.fileFailed(failure))
        } catch let failure as JSONError {
            throw error(.indexNotJSON(failure))
        } catch {
            throw SafetensorsError(path: path, problem: .malformedIndex(wanted: "JSON"))
        }
        guard let map = json["weight_map"]?.objectValue, map.count > 0 else {
            throw error(.malformedIndex(wanted: "an object 'weight_map' of tensors and their files"))
        }
        var places: [(tensorName: String, fileName: String)] = []
        var names: Set<ExactString> = []
        for (tensorName, value) in map.members {
            guard let fileName = value.stringValue else {
                throw error(.malformedIndex(wanted: "a file's name for the tensor '\(tensorName)'"))
            }
            // A name that leads elsewhere could have any file of the user's opened.
            guard !fileName.isEmpty, fileName != ".", fileName != "..", fileName.utf8.count <= 255,
                fileName.utf8.allSatisfy({ $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "\\") && $0 >= 0x20 })
            else { throw error(.fileOutsideFolder(fileName)) }
            names.insert(ExactString(fileName))
            guard names.count <= maximumFileCount else {
                throw error(.malformedIndex(wanted: "at most \(maximumFileCount) files"))
            }
            places.append((tensorName, fileName))
        }
        return places
    }
}
