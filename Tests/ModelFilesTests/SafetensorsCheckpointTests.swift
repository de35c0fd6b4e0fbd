import Foundation
import TestSupport
import Testing

@testable import ModelFiles

@Suite struct `safetensors checkpoints of several files` {
    private let folder: String
    private let cleanUp: CleanUp

    private final class CleanUp {
        let folder: String
        init(_ folder: String) { self.folder = folder }
        deinit { try? FileManager.default.removeItem(atPath: folder) }
    }

    init() throws {
        folder = "\(TestEnvironment.temporaryFolder)/checkpoint-tests-\(UUID().uuidString)"
        cleanUp = CleanUp(folder)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try write("a.safetensors", ["x", "y"])
        try write("b.safetensors", ["z"])
    }

    private func write(_ name: String, _ tensorNames: [String]) throws {
        try SafetensorsFile.write(
            tensors: tensorNames.map {
                SafetensorsFile.TensorToWrite(
                    name: $0, elementType: .uint8, shape: [1], bytes: Array($0.utf8.prefix(1)))
            }, to: "\(folder)/\(name)")
    }

    private func problem(_ index: String) throws -> SafetensorsError.Problem? {
        try Data(index.utf8).write(to: URL(fileURLWithPath: "\(folder)/model.safetensors.index.json"))
        do {
            _ = try SafetensorsCheckpoint(folder: folder)
            return nil
        } catch {
            return error.problem
        }
    }

    private func problem(map: String) throws -> SafetensorsError.Problem? { try problem("{\"weight_map\": {\(map)}}") }

    @Test func `are read by their index`() throws {
        #expect(
            try problem(map: #""x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors""#) == nil)
        let checkpoint = try SafetensorsCheckpoint(folder: folder, mapped: false)
        #expect(checkpoint.tensors.map(\.name) == ["x", "y", "z"])
        #expect(checkpoint.tensor(named: "z")?.data.withUnsafeBytes { Array($0) } == Array("z".utf8))
        #expect(checkpoint.tensor(named: "w") == nil)
        #expect(checkpoint.path == "\(folder)/model.safetensors.index.json")
        // A single file goes first, as in other programs.
        try write("model.safetensors", ["only"])
        #expect(try SafetensorsCheckpoint(folder: folder).tensors.map(\.name) == ["only"])
    }

    @Test(arguments: ["../a.safetensors", "/etc/passwd", "sub/a.safetensors", "..", ".", "", #"..\\a"#, #"a\u0000b"#])
    func `are never looked for outside the folder`(name: String) throws {
        guard case .fileOutsideFolder = try problem(map: "\"x\": \"\(name)\"") else {
            Issue.record("\(name) was opened")
            return
        }
    }

    @Test func `are all there, with the tensors that the index names and no others`() throws {
        guard case .fileFailed = try problem(map: #""x": "c.safetensors""#) else {
            Issue.record("a file that is not there was read")
            return
        }
        #expect(
            try problem(map: #""x": "a.safetensors", "y": "a.safetensors", "w": "b.safetensors""#)
                == .missingTensor("w"))
        #expect(try problem(map: #""x": "a.safetensors""#) == .notInIndex(tensor: "y"))
        try write("b.safetensors", ["x"])
        #expect(
            try problem(map: #""x": "b.safetensors", "y": "a.safetensors""#) == .duplicateName("x"))
    }

    @Test func `have an index that is one`() throws {
        for index in ["", "[", "{\"weight_map\": {\"x\": \"a\", \"x\": \"b\"}}"] {
            guard case .indexNotJSON = try problem(index) else {
                Issue.record("\(index) was read")
                return
            }
        }
        for index in ["[]", "{}", "{\"weight_map\": []}", "{\"weight_map\": {}}", "{\"weight_map\": {\"x\": 1}}"] {
            guard case .malformedIndex = try problem(index) else {
                Issue.record("\(index) was read")
                return
            }
        }
        let many = (0...SafetensorsCheckpoint.maximumFileCount).map { "\"\($0)\": \"\($0)\"" }
        guard case .malformedIndex = try problem(map: many.joined(separator: ",")) else {
            Issue.record("too many files were opened")
            return
        }
    }
}
