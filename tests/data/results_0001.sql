BEGIN TRANSACTION;
CREATE TABLE attnbench_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT attnbench_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "attnbench_version" VALUES('0001');
CREATE TABLE "case" (
	id INTEGER NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	family TEXT NOT NULL, 
	backend TEXT NOT NULL, 
	batch TEXT NOT NULL, 
	workload_key VARCHAR(64) NOT NULL, 
	canonical JSON NOT NULL, 
	CONSTRAINT pk_case PRIMARY KEY (id), 
	CONSTRAINT uq_case_key UNIQUE ("key")
);
INSERT INTO "case" VALUES(1,'1009be4090580a506014405b146b2c5f40e98ad56ca129f89c60d0c4a1a9abfc','attn','naive','3q1kv20_2q8','04368d34825158335d7aa4a7d31b38577d50d98abb0a29e37f70f5bb8075a0f4','{"family": "attn", "backend": "naive", "batch": "3q1kv20_2q8", "dtype": "fp32", "num_q_heads": 4, "num_kv_heads": 2, "head_dim": 16}');
CREATE TABLE environment (
	id INTEGER NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	facts JSON NOT NULL, 
	CONSTRAINT pk_environment PRIMARY KEY (id), 
	CONSTRAINT uq_environment_key UNIQUE ("key")
);
INSERT INTO "environment" VALUES(1,'79c3b5f916ca0e562e2713e950640e1aa87387447efdbf1574152460dfec9906','{"python": "3.11.7", "cuda": null, "cudnn": 91002, "components": {"torch": {"version": "2.11.0", "commit": "70d99e998", "dirty": null}}, "variables": {}}');
CREATE TABLE machine (
	id INTEGER NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	machine_key VARCHAR(64) NOT NULL, 
	model_key VARCHAR(64) NOT NULL, 
	name TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	gpu_uuid TEXT, 
	hostname TEXT NOT NULL, 
	facts JSON NOT NULL, 
	CONSTRAINT pk_machine PRIMARY KEY (id), 
	CONSTRAINT uq_machine_key UNIQUE ("key")
);
INSERT INTO "machine" VALUES(1,'6dd484149e4f1e7ab44d9f4de01f527af882c37f1d4ab674151914ec5e21c202','9234fe1a9a42b25c849b4804b9858142f013d69acbcc0478f4afcf6117a73c5e','88231b4811d4ec25e3268f811de91f19bfb80c3db52593cbfc608b2afc9e56d7','NVIDIA H200','cuda','GPU-1','','{"kind": "cuda", "device": "cuda:0", "name": "NVIDIA H200", "gpu_uuid": "GPU-1", "capability": [9, 0], "sm_count": 132, "l2_bytes": null, "memory_bytes": null, "memory_bus_bits": null, "max_sm_clock_hz": null, "max_memory_clock_hz": null, "power_limit_watts": null, "ecc": null, "mig": null, "driver": null, "vbios": null, "persistence": null, "cpu_model": "", "cpu_count": 1, "hostname": "", "os": "", "kernel": "", "boot_id": null, "governor": null}');
CREATE TABLE measurement (
	id INTEGER NOT NULL, 
	uuid VARCHAR(32) NOT NULL, 
	run INTEGER NOT NULL, 
	case_id INTEGER NOT NULL, 
	method_id INTEGER NOT NULL, 
	round INTEGER NOT NULL, 
	position INTEGER NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	reason TEXT NOT NULL, 
	median DOUBLE, 
	low DOUBLE, 
	high DOUBLE, 
	num_samples INTEGER NOT NULL, 
	calls_per_sample INTEGER NOT NULL, 
	sets INTEGER NOT NULL, 
	cache_state TEXT NOT NULL, 
	touched_bytes BIGINT NOT NULL, 
	flops DOUBLE NOT NULL, 
	bytes DOUBLE NOT NULL, 
	decode_requests INTEGER NOT NULL, 
	decode_tokens INTEGER NOT NULL, 
	prefill_requests INTEGER NOT NULL, 
	prefill_tokens INTEGER NOT NULL, 
	warmup_calls INTEGER NOT NULL, 
	peak_memory BIGINT, 
	resolved JSON NOT NULL, 
	labels JSON NOT NULL, 
	errors JSON NOT NULL, 
	durations JSON NOT NULL, 
	stored DATETIME NOT NULL, 
	CONSTRAINT pk_measurement PRIMARY KEY (id), 
	CONSTRAINT uq_measurement_run UNIQUE (run, case_id, method_id, round), 
	CONSTRAINT uq_measurement_uuid UNIQUE (uuid), 
	CONSTRAINT fk_measurement_run FOREIGN KEY(run) REFERENCES run (number) ON DELETE CASCADE, 
	CONSTRAINT fk_measurement_case_id FOREIGN KEY(case_id) REFERENCES "case" (id), 
	CONSTRAINT fk_measurement_method_id FOREIGN KEY(method_id) REFERENCES method (id)
);
INSERT INTO "measurement" VALUES(1,'5769b0044d7f4a0296b4f6a3995c25df',1,1,1,0,0,'ok','',2.0e-05,1.0e-05,3.0e-05,3,0,0,'',0,0.0,0.0,0,0,0,0,0,NULL,'{}','[]','{}','{"check": 0.5, "time": 1.5}','2026-11-21 10:23:31.640295');
INSERT INTO "measurement" VALUES(2,'b1e30358427147a4837c7953c28eb134',1,1,1,1,1,'refused','needs SM100; this is SM90 (NVIDIA H200)',NULL,NULL,NULL,0,0,0,'',0,0.0,0.0,0,0,0,0,0,NULL,'{}','[]','{}','{}','2026-11-21 10:23:31.644613');
CREATE TABLE method (
	id INTEGER NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	timer TEXT NOT NULL, 
	cache TEXT NOT NULL, 
	facts JSON NOT NULL, 
	CONSTRAINT pk_method PRIMARY KEY (id), 
	CONSTRAINT uq_method_key UNIQUE ("key")
);
INSERT INTO "method" VALUES(1,'712ecd71c12015176a272ccc67965bd550ee149e005578f8560041b884e8b11b','cudagraph','cold','{"timer": "cudagraph", "cache": "cold", "version": 1}');
CREATE TABLE run (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	uuid VARCHAR(32) NOT NULL, 
	command TEXT NOT NULL, 
	argv JSON NOT NULL, 
	label TEXT, 
	status VARCHAR(16) NOT NULL, 
	started DATETIME NOT NULL, 
	finished DATETIME, 
	options JSON NOT NULL, 
	"plan" JSON NOT NULL, 
	machine_id INTEGER NOT NULL, 
	environment_id INTEGER NOT NULL, 
	source_id INTEGER NOT NULL, 
	CONSTRAINT uq_run_uuid UNIQUE (uuid), 
	CONSTRAINT fk_run_machine_id FOREIGN KEY(machine_id) REFERENCES machine (id), 
	CONSTRAINT fk_run_environment_id FOREIGN KEY(environment_id) REFERENCES environment (id), 
	CONSTRAINT fk_run_source_id FOREIGN KEY(source_id) REFERENCES source (id)
);
INSERT INTO "run" VALUES(1,'0813273f8c8a4baaa1f487dcf3214686','attn','["attnbench", "attn"]','pr','finished','2026-11-21 10:23:31.619969','2026-11-21 10:23:31.647753','{"backends": ["naive"]}','{"rounds": 3}',1,1,1);
CREATE TABLE sample (
	measurement_id INTEGER NOT NULL, 
	"values" BLOB NOT NULL, 
	CONSTRAINT pk_sample PRIMARY KEY (measurement_id), 
	CONSTRAINT fk_sample_measurement_id FOREIGN KEY(measurement_id) REFERENCES measurement (id) ON DELETE CASCADE
);
INSERT INTO "sample" VALUES(1,X'F168E388B5F8E43E691D554D1075FF3EF168E388B5F8F43E');
CREATE TABLE source (
	id INTEGER NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	origin TEXT NOT NULL, 
	repository TEXT, 
	branch TEXT, 
	"commit" TEXT, 
	dirty TEXT, 
	subject TEXT, 
	facts JSON NOT NULL, 
	CONSTRAINT pk_source PRIMARY KEY (id), 
	CONSTRAINT uq_source_key UNIQUE ("key")
);
INSERT INTO "source" VALUES(1,'4110b557082bbf77549dfd91f176baca5e298d745709312b8fc0ed0160e2d3f3','--source','vllm','main','0123456789012345678901234567890123456789',NULL,'Speed up','{"origin": "--source", "repository": "vllm", "branch": "main", "commit": "0123456789012345678901234567890123456789", "dirty": null, "subject": "Speed up", "path": "/src/vllm"}');
CREATE INDEX ix_measurement_case_id ON measurement (case_id, method_id, run);
CREATE INDEX ix_measurement_run_status ON measurement (run, status);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('run',1);
COMMIT;
