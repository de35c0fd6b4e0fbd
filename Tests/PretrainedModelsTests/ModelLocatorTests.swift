import Foundation
import PretrainedModels
import Testing

@Suite struct `Finding a model` {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
    }

    private var locator: ModelLocator { ModelLocator(environment: ["XDG_CACHE_HOME": folder.path]) }
    private var models: String { "\(folder.path)/swift-attention/models" }

    @Test func `looks into the user's cache by the XDG rules`() {
        func models(_ environment: [String: String]) -> String {
            ModelLocator(environment: environment).modelsFolder
        }
        #expect(models(["XDG_CACHE_HOME": "/cache", "HOME": "/house/me"]) == "/cache/swift-attention/models")
        #expect(models(["XDG_CACHE_HOME": "cache", "HOME": "/house/me"]) == "/house/me/.cache/swift-attention/models")
        #expect(models(["XDG_CACHE_HOME": "", "HOME": "/house/me"]) == "/house/me/.cache/swift-attention/models")
        #expect(models(["HOME": "/house/me"]) == "/house/me/.cache/swift-attention/models")
    }

    @Test func `takes a file by its path`() throws {
        let file = try folder.write("some model.bin")
        #expect(try locator.path(of: file) == file)
    }

    @Test func `takes the only model of a folder`() throws {
        let file = try folder.write("one/tiny.gguf")
        try folder.write("one/README.md")
        #expect(try locator.path(of: "\(folder.path)/one") == file)
    }

    @Test func `refuses a folder without a model`() throws {
        try folder.write("none/README.md")
        let error = #expect(throws: PretrainedModelError.self) { try locator.path(of: "\(folder.path)/none") }
        guard case .ambiguousFolder(let path, let candidates) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(path == "\(folder.path)/none")
        #expect(candidates.isEmpty)
        #expect(error?.description.contains("holds no .gguf file") == true)
    }

    @Test func `refuses a folder with several models, and lists them`() throws {
        try folder.write("two/b.gguf")
        try folder.write("two/a.gguf")
        let error = #expect(throws: PretrainedModelError.self) { try locator.path(of: "\(folder.path)/two") }
        guard case .ambiguousFolder(_, let candidates) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(candidates == ["a.gguf", "b.gguf"])
        #expect(error?.description.contains("a.gguf, b.gguf") == true)
    }

    @Test func `takes a name from the cache with or without its ending`() throws {
        let file = try folder.write("swift-attention/models/mine.gguf")
        #expect(try locator.path(of: "mine") == file)
        #expect(try locator.path(of: "mine.gguf") == file)
    }

    @Test func `takes the default model where none is named, and by its name`() throws {
        let file = try folder.write("swift-attention/models/\(ModelLocator.defaultModel.fileName)")
        #expect(try locator.path(of: nil) == file)
        #expect(try locator.path(of: ModelLocator.defaultModel.name) == file)
    }

    @Test func `lists all that was tried, and the command that fetches a model`() throws {
        let error = #expect(throws: PretrainedModelError.self) { try locator.path(of: "absent") }
        guard case .notFound(let name, let tried, let command) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(name == "absent")
        let hub = "\(folder.path)/huggingface/hub/models--absent/snapshots/main"
        #expect(tried == ["absent", hub, "\(models)/absent", "\(models)/absent.gguf"])
        #expect(command == ModelLocator.fetchCommand)
        for part in tried + [command, "from this package's folder"] {
            #expect(error?.description.contains(part) == true)
        }
    }

    @Test func `refuses an empty name`() throws {
        try folder.write("swift-attention/models/mine.gguf")
        let error = #expect(throws: PretrainedModelError.self) { try locator.path(of: "") }
        guard case .emptyName = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func `an absolute path is not looked for in the cache`() throws {
        let error = #expect(throws: PretrainedModelError.self) { try locator.path(of: "/absent/model.gguf") }
        guard case .notFound(_, let tried, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(tried == ["/absent/model.gguf"])
    }

    @Test(arguments: ["../outside.gguf", "a/../../../outside.gguf", "..", "a\0b"])
    func `no name leads out of the cache`(name: String) throws {
        try folder.write("swift-attention/outside.gguf")
        try folder.write("swift-attention/models/a/x")
        let error = #expect(throws: PretrainedModelError.self) { try locator.path(of: name) }
        if case .notFound(_, let tried, _) = error { #expect(tried == [name]) }
    }

    @Test func `without any model in the cache the default is reported as absent`() throws {
        let error = #expect(throws: PretrainedModelError.self) { try locator.path(of: nil) }
        guard case .notFound(_, let tried, _) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(tried == ["\(models)/\(ModelLocator.defaultModel.fileName)"])
    }
}

/// A folder that goes with the last look at it.
private final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/attention-tests-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// Writes an empty file, and the folders on the way to it.
    @discardableResult
    func write(_ name: String) throws -> String {
        let file = URL(fileURLWithPath: "\(path)/\(name)")
        try FileManager.default.createDirectory(
            at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data().write(to: file)
        return file.path
    }
}
