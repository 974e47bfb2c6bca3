-- The five tables as go-zero services make them, with a few rows of an earlier life.
-- The times are of three kinds on purpose; sessions of the Go services run in the server's zone.
SET time_zone = '+00:00';

CREATE TABLE `im_message` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `msg_id` varchar(64) NOT NULL COMMENT 'client message id',
  `from_user_id` bigint NOT NULL,
  `to_user_id` bigint NOT NULL DEFAULT '0',
  `chat_type` tinyint NOT NULL DEFAULT '1',
  `group_id` varchar(64) DEFAULT NULL,
  `seq` bigint unsigned NOT NULL DEFAULT '0',
  `content` text NOT NULL,
  `content_type` tinyint NOT NULL DEFAULT '1',
  `status` tinyint NOT NULL DEFAULT '0',
  `at_user_ids` json DEFAULT NULL,
  `created_at` timestamp NULL DEFAULT CURRENT_TIMESTAMP,
  `updated_at` timestamp NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uk_msg_id` (`msg_id`),
  KEY `idx_from_to_time` (`from_user_id`,`to_user_id`,`created_at`),
  KEY `idx_to_status` (`to_user_id`,`status`,`created_at`),
  KEY `idx_group_seq` (`group_id`,`seq`)
) ENGINE=InnoDB AUTO_INCREMENT=1001 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE `im_friend` (
  `id` bigint NOT NULL AUTO_INCREMENT,
  `user_id` bigint NOT NULL,
  `friend_id` bigint NOT NULL,
  `remark` varchar(50) DEFAULT '',
  `status` tinyint NOT NULL DEFAULT '1',
  `created_at` datetime DEFAULT CURRENT_TIMESTAMP,
  `updated_at` datetime DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uk_user_friend` (`user_id`,`friend_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE `im_friend_request` (
  `id` bigint NOT NULL AUTO_INCREMENT,
  `from_user_id` bigint NOT NULL,
  `to_user_id` bigint NOT NULL,
  `message` varchar(255) DEFAULT '',
  `status` tinyint NOT NULL DEFAULT '0',
  `created_at` bigint NOT NULL DEFAULT '0',
  `updated_at` bigint NOT NULL DEFAULT '0',
  PRIMARY KEY (`id`),
  KEY `idx_to_user` (`to_user_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE `im_group` (
  `id` bigint NOT NULL AUTO_INCREMENT,
  `group_id` varchar(64) NOT NULL,
  `name` varchar(100) NOT NULL,
  `avatar` varchar(255) DEFAULT '',
  `owner_id` bigint NOT NULL,
  `description` varchar(500) DEFAULT '',
  `max_members` int NOT NULL DEFAULT '200',
  `member_count` int NOT NULL DEFAULT '0',
  `status` tinyint NOT NULL DEFAULT '1',
  `invite_confirm_mode` tinyint NOT NULL DEFAULT '0',
  `created_at` timestamp NULL DEFAULT CURRENT_TIMESTAMP,
  `updated_at` timestamp NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uk_group_id` (`group_id`),
  KEY `idx_owner` (`owner_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE `im_group_member` (
  `id` bigint NOT NULL AUTO_INCREMENT,
  `group_id` varchar(64) NOT NULL,
  `user_id` bigint NOT NULL,
  `role` tinyint NOT NULL DEFAULT '3',
  `nickname` varchar(50) DEFAULT '',
  `mute` tinyint NOT NULL DEFAULT '0',
  `read_seq` bigint unsigned NOT NULL DEFAULT '0',
  `joined_at` timestamp NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uk_group_user` (`group_id`,`user_id`),
  KEY `idx_user_id` (`user_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- 1700000000 is 2023-11-14 22:13:20 UTC.
INSERT INTO `im_friend` (`user_id`, `friend_id`, `remark`, `status`, `created_at`) VALUES
  (1, 2, 'two', 1, '2023-11-14 22:13:20'),
  (2, 1, NULL, 1, '2023-11-14 22:13:20'),
  (1, 3, '', 2, NULL),
  (3, 1, '', 1, NULL);

INSERT INTO `im_friend_request`
  (`from_user_id`, `to_user_id`, `message`, `status`, `created_at`, `updated_at`) VALUES
  (1, 2, 'hello', 1, 1700000000, 1700000000),
  (4, 1, NULL, 0, 1700000001, 1700000001);

INSERT INTO `im_group` (`group_id`, `name`, `owner_id`, `member_count`, `created_at`) VALUES
  ('g-go', 'Tea', 1, 2, '2023-11-14 22:13:20'),
  ('g-gone', 'Coffee', 1, 1, '2023-11-14 22:13:20');
UPDATE `im_group` SET `status` = 2 WHERE `group_id` = 'g-gone';

INSERT INTO `im_group_member` (`group_id`, `user_id`, `role`, `read_seq`, `joined_at`) VALUES
  ('g-go', 1, 1, 41, '2023-11-14 22:13:20'),
  ('g-go', 2, 3, 0, '2023-11-14 22:13:20'),
  ('g-gone', 1, 1, 0, NULL);

INSERT INTO `im_message`
  (`msg_id`, `from_user_id`, `to_user_id`, `chat_type`, `group_id`, `seq`, `content`, `status`,
   `at_user_ids`, `created_at`) VALUES
  ('go-1', 1, 2, 1, NULL, 0, 'read', 1, NULL, '2023-11-14 22:13:20'),
  ('go-2', 1, 2, 1, '', 0, 'unread 🦊', 0, NULL, '2023-11-14 22:13:21'),
  ('go-3', 2, 1, 1, NULL, 0, 'recalled', 2, NULL, '2023-11-14 22:13:22'),
  ('go-g41', 1, 0, 2, 'g-go', 41, 'to two', 0, '[2]', '2023-11-14 22:13:23'),
  ('go-g42', 2, 0, 2, 'g-go', 42, 'to all', 0, '[1, -1]', '2023-11-14 22:13:24');
