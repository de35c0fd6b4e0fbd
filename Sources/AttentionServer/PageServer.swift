internal import Foundation
internal import HTTPTypes
internal import Hummingbird
internal import Logging
internal import NIOCore
public import PretrainedModels
internal import ServiceLifecycle

/// The local page, and the interface that it is drawn from.
public struct PageServer: Sendable {
    /// What the server does, and for whom.
    public struct Configuration: Sendable {
        /// The port that is tried where none is named.
        public static let defaultPort = 7421

        /// The address or name to listen on; others reach the server only where it is not a loopback address.
        public var host: String
        /// The port, or `nil`: ``defaultPort``, or another where that is taken.
        public var port: Int?
        /// The model that is used where a request names none; `nil` is the locator's default.
        public var model: String?
        /// Where models are found.
        public var locator: ModelLocator
        /// How many requests may wait for the models, at least 1; more are refused at once.
        public var queueLimit: Int

        /// Creates a configuration.
        ///
        /// - Parameters:
        ///   - host: The address or name to listen on.
        ///   - port: The port, from 0 (any that is free) to 65535, or `nil`.
        ///   - model: The model that is used where a request names none.
        ///   - locator: Where models are found.
        ///   - queueLimit: How many requests may wait for the models, at least 1.
        public init(
            host: String = "127.0.0.1", port: Int? = nil, model: String? = nil,
            locator: ModelLocator = ModelLocator(), queueLimit: Int = 64
        ) {
            self.host = host
            self.port = port
            self.model = model
            self.locator = locator
            self.queueLimit = queueLimit
        }

        /// Whether only this machine reaches the server.
        public var isLoopback: Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }
    }

    /// The server could not begin.
    public struct CannotListen: Error, CustomStringConvertible {
        /// What it was to listen on.
        public let host: String
        /// The port.
        public let port: Int
        /// Why not.
        public let reason: String

        /// What went wrong, and what to try.
        public var description: String {
            "cannot listen on \(host), port \(port): \(reason). Name another with --port, or leave the option out."
        }
    }

    private let configuration: Configuration
    private let resources: PageResources

    /// Creates a server.
    ///
    /// - Parameters:
    ///   - configuration: What it does, and for whom.
    ///   - resources: The page's files.
    public init(configuration: Configuration, resources: PageResources) {
        self.configuration = configuration
        self.resources = resources
    }

    /// Serves until the task is cancelled or `shutdown` returns; requests that are being answered are finished first,
    /// for three seconds at most.
    ///
    /// - Parameters:
    ///   - shutdown: Returns once the server has to stop.
    ///   - onRunning: Called with the port once the server listens.
    /// - Throws: ``CannotListen``, or what the server throws.
    public func run(
        until shutdown: @escaping @Sendable () async throws -> Void, onRunning: @escaping @Sendable (Int) -> Void
    ) async throws {
        let first = configuration.port ?? Configuration.defaultPort
        do {
            try await serve(port: first, until: shutdown, onRunning: onRunning)
        } catch let error as IOError where error.errnoCode == EADDRINUSE && configuration.port == nil {
            try await serve(port: 0, until: shutdown, onRunning: onRunning)
        } catch let error as IOError {
            throw CannotListen(
                host: configuration.host, port: first, reason: String(cString: strerror(error.errnoCode)))
        } catch let error as SocketAddressError {
            throw CannotListen(host: configuration.host, port: first, reason: "\(error)")
        }
    }

    private func serve(
        port: Int, until shutdown: @escaping @Sendable () async throws -> Void,
        onRunning: @escaping @Sendable (Int) -> Void
    ) async throws {
        // What goes wrong is said to whoever asked; the library's log is for its own faults.
        var logger = Logger(label: "attend view", factory: { StreamLogHandler.standardError(label: $0) })
        logger.logLevel = .critical
        let queue = ComputeQueue(limit: configuration.queueLimit)
        let interface = Interface(
            queue: queue,
            shelf: ModelShelf(
                locator: configuration.locator, defaultReference: configuration.model,
                allowsPaths: configuration.isLoopback))
        let router = Router(context: BasicRequestContext.self, options: .autoGenerateHeadEndpoints)
        router.add(middleware: RequestGuard(hosts: AllowedHosts(listeningOn: configuration.host)))
        for (path, file) in resources.files {
            router.get(RouterPath(path)) { _, _ in
                Response(
                    status: .ok, headers: [.contentType: file.contentType],
                    body: .init(byteBuffer: ByteBuffer(bytes: file.bytes)))
            }
        }
        interface.addRoutes(to: router)
        let application = Application(
            router: router,
            configuration: ApplicationConfiguration(address: .hostname(configuration.host, port: port)),
            onServerRunning: { channel in onRunning(channel.localAddress?.port ?? port) }, logger: logger)
        var group = ServiceGroupConfiguration(services: [application], logger: logger)
        group.maximumGracefulShutdownDuration = .seconds(3)
        let services = ServiceGroup(configuration: group)
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                try await shutdown()
                await services.triggerGracefulShutdown()
            }
            try await services.run()
            tasks.cancelAll()
        }
    }
}
